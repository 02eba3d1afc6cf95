/* A VFS for SQLite that fails as disks do. It wraps the default one and takes its place as default,
 * so that the code under test needs no hook. All settings are global; fault_vfs_reset() clears
 * them.
 *
 * What one "disk" does is set before or while the log's writer thread works; every call here may be
 * made from any thread.
 */
#ifndef ASSENT_TESTS_LIB_FAULT_VFS_H
#define ASSENT_TESTS_LIB_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

/* Registers the VFS (the first time) and clears every fault. */
void fault_vfs_reset(void);

/* The nth sync from now fails with an I/O error, once; 0: none does. */
void fault_vfs_fail_sync(unsigned nth);

/* Space left for writes, in bytes, counted down by each write (over old content, too); a write that
 * does not fit is done in part and answers disk full. Negative: no limit. */
void fault_vfs_set_space(int64_t bytes);

/* Syncs block until released. fault_vfs_await_held() returns when one is blocked. */
void fault_vfs_hold_syncs(void);
void fault_vfs_await_held(void);
void fault_vfs_release_syncs(void);

/* The power fails at the nth sync from now, before anything of it is done: from then on every write
 * and sync is an I/O error. After the log has been closed, fault_vfs_power_back() undoes a random
 * part (by `seed`) of the writes that no sync had made safe since fault_vfs_power_cut() was called.
 */
void fault_vfs_power_cut(unsigned nth);
void fault_vfs_power_back(unsigned seed);

unsigned fault_vfs_syncs(void); /* since the last reset */

#endif
