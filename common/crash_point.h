/* Named places at which a test kills the process, as a power cut would: no handler runs.
 *
 *   ASSENT_CRASH=C5      kills at the first passage of C5
 *   ASSENT_CRASH=C2:3    at the third
 *   ASSENT_CRASH=C5:stop stops there (SIGSTOP), until somebody sends SIGCONT; C2:3:stop likewise
 *
 * Compiled in for test builds only. The names are those of docs/design.md (C1..C10, A1..A7).
 */
#ifndef ASSENT_COMMON_CRASH_POINT_H
#define ASSENT_COMMON_CRASH_POINT_H

#ifdef ASSENT_CRASH_POINTS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
