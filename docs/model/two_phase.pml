/* Presumed abort as Assent does it, for exhaustive checking with SPIN. README.md beside this file says
 * how each step maps to the code; `make model` runs it.
 *
 * One transaction with two branches. LIVES lives of the coordinator on one log, each but the last may
 * crash between any two steps; each agent may crash once between any two steps, and its database
 * session may live on for a while. Every message once sent may arrive never, late, more than once, and
 * in any order: what has been sent is a set that only grows, and a receiver may take anything out of
 * it at any time.
 *
 * Every step is enabled only when it changes something, and what changes only grows or is bounded, so
 * every run ends. So "resolved when nothing more can happen" (the process `rest`) is eventual
 * resolution, if messages that are sent again and again arrive at last.
 *
 * With -DBUG_... one step is done wrong. SPIN has to find each of them.
 */
#ifndef LIVES
#define LIVES 2
#endif
#define N 2 /* branches, agents, databases */

/* ---- durable ---------------------------------------------------------------------------------- */

#define X_NEVER     0
#define X_PREPARED  1
#define X_COMMITTED 2
#define X_ABORTED   3

/* in database b; a branch may get a second xid when its run is repeated */
byte prepared[N];  /* the xid prepared under the branch's gid; 0: none */
byte xids[N];      /* handed out so far */
byte xact[N * 3];  /* pg_xact_status, by b * 3 + xid */
byte claimed[N];   /* the highest epoch, in table assent.coordinator */
#define XACT(b, x) xact[(b) * 3 + (x)]

/* in the decision log */
byte epoch;        /* of the life that runs, or ran last */
bool logged;       /* the commit decision */
byte voted_xid[N]; /* in it; 0: read only */
bool ended;        /* the end record */

/* ---- what has been sent: sets that only grow ---------------------------------------------------- */

byte run_sent[N];          /* the incarnation it is meant for; 0: not sent. Of epoch 1 */
byte yes_sent[N];          /* bit x: yes, with xid x */
bool no_sent[N], read_only_sent[N];
byte fence_sent[N];        /* bit e */
byte fenced_sent[N * 4];   /* by b * 4 + e: bit i, by incarnation i */
byte commit_sent[N], abort_sent[N];           /* bit e: by the life of epoch e */
bool said_committed[N], said_aborted[N];      /* outcomes confirmed to the coordinator */
#define HAS(set, n) (((set) >> (n)) & 1)
#define ADD(set, n) set = (set) | (1 << (n))

/* what a client has been told */
bool told_committed, told_aborted;

/* ---- volatile: the agents ------------------------------------------------------------------------ */

mtype = { NONE, RUNNING, ENDING_SESSION, LOOKING_UP, PREPARED, COMMITTING, COMMITTED, ABORTED,
          READ_ONLY };
mtype branch[N] = NONE;
bool up[N] = true, crashed[N];
byte incarnation[N] = 1;
byte fenced[N];    /* epoch, in this life */
bool closed[N];    /* an abort or a newer epoch has come while it was busy */
bool buried[N];    /* a tombstone has been given up, once */

/* the branch's database session: it outlives its agent until somebody ends it */
mtype = { S_NONE, S_SENT, S_PREPARED, S_FAILED, S_READ_ONLY };
mtype session[N] = S_NONE;

bool hazard; /* a branch was found to have ended against the decision: there is no reason for it here */

/* ---- the invariants, after every step --------------------------------------------------------- */

#define COMMITTED_AT(b) (XACT(b, 1) == X_COMMITTED || XACT(b, 2) == X_COMMITTED)

inline check() {
  assert(!hazard);
  assert(!(told_committed && told_aborted));
  assert(!told_committed || logged);
  assert(!told_aborted || !logged);
  /* nothing commits but what was voted for and decided */
  assert(XACT(0, 1) != X_COMMITTED || (logged && voted_xid[0] == 1));
  assert(XACT(0, 2) != X_COMMITTED || (logged && voted_xid[0] == 2));
  assert(XACT(1, 1) != X_COMMITTED || (logged && voted_xid[1] == 1));
  assert(XACT(1, 2) != X_COMMITTED || (logged && voted_xid[1] == 2));
  /* nothing voted and decided is lost */
  assert(!logged || voted_xid[0] == 0 || XACT(0, voted_xid[0]) != X_ABORTED);
  assert(!logged || voted_xid[1] == 0 || XACT(1, voted_xid[1]) != X_ABORTED);
  /* forgotten implies confirmed everywhere */
  assert(!ended || voted_xid[0] == 0 || XACT(0, voted_xid[0]) == X_COMMITTED);
  assert(!ended || voted_xid[1] == 0 || XACT(1, voted_xid[1]) == X_COMMITTED);
}

/* ---- an agent and its database ------------------------------------------------------------------ */

inline roll_back(b) {
  if
  :: prepared[b] != 0 -> XACT(b, prepared[b]) = X_ABORTED; prepared[b] = 0
  :: else
  fi
}

/* What the run has come to is known: a vote, unless it is not wanted any more. */
inline known_prepared(b) {
  if
  :: closed[b] -> roll_back(b); branch[b] = ABORTED
  :: else -> branch[b] = PREPARED; ADD(yes_sent[b], prepared[b])
  fi
}

/* Where the gid is not prepared as voted the status of the voted xid is the truth. */
inline verify(b) {
  if
  :: XACT(b, voted_xid[b]) == X_COMMITTED -> said_committed[b] = true
  :: else -> hazard = true
  fi
}

#ifdef BUG_NO_INCARNATION
#define FOR_THIS_LIFE(b) (run_sent[b] != 0)
#else
#define FOR_THIS_LIFE(b) (run_sent[b] == incarnation[b])
#endif
#ifdef BUG_NO_XID
#define SAME_XID(b, x) (true)
#else
#define SAME_XID(b, x) ((x) == voted_xid[b])
#endif

#define FENCE(e)                                                                                    \
  :: atomic { up[b] && HAS(fence_sent[b], e) && fenced[b] < e && claimed[b] <= e ->                 \
       claimed[b] = e; fenced[b] = e;                                                               \
       if                                                                                           \
       :: e > 1 && branch[b] == RUNNING -> closed[b] = true                                        \
       :: else                                                                                      \
       fi; check() }

/* nothing of an older epoch can still become prepared */
#define AT_REST(b) (fenced[b] == 1 || (branch[b] != RUNNING && branch[b] != ENDING_SESSION))

proctype agent(byte b) {
  do
  /* -- run and prepare, in one round trip (execute_run) */
  :: atomic { up[b] && fenced[b] == 1 && FOR_THIS_LIFE(b) && branch[b] == NONE &&
              session[b] == S_NONE && xids[b] < 2 ->
       branch[b] = RUNNING; closed[b] = false; session[b] = S_SENT; check() }
  /* -- the answer is there */
  :: atomic { up[b] && branch[b] == RUNNING && session[b] == S_PREPARED ->
       session[b] = S_NONE; known_prepared(b); check() }
  :: atomic { up[b] && branch[b] == RUNNING && session[b] == S_FAILED ->
       session[b] = S_NONE; branch[b] = ABORTED; no_sent[b] = true; check() }
  :: atomic { up[b] && branch[b] == RUNNING && session[b] == S_READ_ONLY ->
       session[b] = S_NONE;
       if
       :: closed[b] -> branch[b] = ABORTED
       :: else -> branch[b] = READ_ONLY; read_only_sent[b] = true
       fi; check() }
  /* -- the answer is lost: its backend is ended, and the gid looked up */
  :: atomic { up[b] && branch[b] == RUNNING -> branch[b] = ENDING_SESSION; check() }
#ifdef BUG_NO_END_SESSION
  :: atomic { up[b] && branch[b] == ENDING_SESSION -> branch[b] = LOOKING_UP; check() }
#else
  :: atomic { up[b] && branch[b] == ENDING_SESSION ->
       session[b] = S_NONE; branch[b] = LOOKING_UP; check() }
#endif
  :: atomic { up[b] && branch[b] == LOOKING_UP ->
       if
       :: prepared[b] != 0 -> known_prepared(b)
       :: else -> branch[b] = ABORTED; no_sent[b] = true
       fi; check() }

  /* -- abort, of any epoch e that is in force here */
  :: atomic { up[b] && fenced[b] != 0 && HAS(abort_sent[b], fenced[b]) &&
              (branch[b] == NONE || branch[b] == PREPARED) ->
       roll_back(b); branch[b] = ABORTED; said_aborted[b] = true; check() }
  :: atomic { up[b] && fenced[b] != 0 && HAS(abort_sent[b], fenced[b]) && !closed[b] &&
              (branch[b] == RUNNING || branch[b] == ENDING_SESSION || branch[b] == LOOKING_UP) ->
#ifndef BUG_ABORT_IGNORED_WHEN_BUSY
       closed[b] = true;
#else
       closed[b] = false; branch[b] = ABORTED; said_aborted[b] = true;
#endif
       check() }
  :: atomic { up[b] && fenced[b] != 0 && HAS(abort_sent[b], fenced[b]) && !said_aborted[b] &&
              (branch[b] == ABORTED || branch[b] == READ_ONLY) ->
       said_aborted[b] = true; check() }

  /* -- commit, of the xid that was voted */
  :: atomic { up[b] && fenced[b] != 0 && HAS(commit_sent[b], fenced[b]) &&
              (branch[b] == NONE || branch[b] == PREPARED) && prepared[b] != 0 &&
              SAME_XID(b, prepared[b]) ->
       branch[b] = COMMITTING; check() }
  :: atomic { up[b] && fenced[b] != 0 && HAS(commit_sent[b], fenced[b]) && !said_committed[b] &&
              (branch[b] == NONE || branch[b] == PREPARED || branch[b] == ABORTED) &&
              !(prepared[b] != 0 && SAME_XID(b, prepared[b])) ->
       verify(b);
       check() }
#ifdef BUG_ACK_EARLY
  :: atomic { up[b] && branch[b] == COMMITTING && !said_committed[b] ->
       said_committed[b] = true; check() }
#endif
  /*    COMMIT PREPARED in the database; then its answer, or a look-up that shows the same */
  :: atomic { up[b] && branch[b] == COMMITTING && prepared[b] != 0 ->
       XACT(b, prepared[b]) = X_COMMITTED; prepared[b] = 0; check() }
  :: atomic { up[b] && branch[b] == COMMITTING && prepared[b] == 0 ->
       branch[b] = COMMITTED; said_committed[b] = true; check() }
  :: atomic { up[b] && fenced[b] != 0 && HAS(commit_sent[b], fenced[b]) && !said_committed[b] &&
              branch[b] == COMMITTED ->
       said_committed[b] = true; check() }

  /* -- a tombstone is given up (there is a limit to them); one agent's will do */
  :: atomic { up[b] && b == 0 && !buried[b] &&
              (branch[b] == ABORTED || branch[b] == COMMITTED || branch[b] == READ_ONLY) ->
       branch[b] = NONE; buried[b] = true; closed[b] = false; check() }

  /* -- fence: a newer epoch; then, when nothing of an older one can still become prepared, the answer */
  FENCE(1)
  FENCE(2)
#if LIVES > 2
  FENCE(3)
#endif
  :: atomic { up[b] && fenced[b] != 0 && AT_REST(b) &&
              !HAS(fenced_sent[b * 4 + fenced[b]], incarnation[b]) ->
       ADD(fenced_sent[b * 4 + fenced[b]], incarnation[b]); check() }

  /* -- crash; and start, which ends the sessions of the life before */
  :: atomic { up[b] && !crashed[b] ->
       up[b] = false; crashed[b] = true; branch[b] = NONE; fenced[b] = 0;
       closed[b] = false; check() }
  :: atomic { !up[b] ->
       up[b] = true; incarnation[b] = 2;
#ifndef BUG_SESSIONS_LIVE_ON
       session[b] = S_NONE;
#endif
       check() }
  od
}

/* What the database makes of what was sent on the branch's session, whoever still listens there. */
proctype database(byte b) {
  do
  :: atomic { session[b] == S_SENT ->
       if
       :: prepared[b] == 0 -> /* else the gid is taken: an error */
            xids[b]++; XACT(b, xids[b]) = X_PREPARED; prepared[b] = xids[b];
            session[b] = S_PREPARED
       :: b == 1 -> session[b] = S_READ_ONLY /* one of them is enough */
       :: session[b] = S_FAILED
       fi; check() }
  od
}

/* ---- the coordinator ------------------------------------------------------------------------------ */

#define FENCED(b) (up[b] && fenced[b] == epoch && HAS(fenced_sent[b * 4 + epoch], incarnation[b]))
#define VOTED(b)  (yes_sent[b] != 0 || read_only_sent[b])
#define CONFIRMED(b) (voted_xid[b] == 0 || said_committed[b])

/* The sweep: what is prepared and no live transaction owns is ended as the log says. The listing goes
 * to the database and shows the branch to its agent, too. */
#define AT_AN_END(b)                                                                                \
  (branch[b] == NONE || branch[b] == COMMITTED || branch[b] == ABORTED || branch[b] == READ_ONLY)
#define SWEEP(b)                                                                                    \
  :: atomic { MAY_SWEEP(b) ->                                                                       \
       if                                                                                           \
       :: branch[b] == NONE || branch[b] == COMMITTED || branch[b] == ABORTED ||                    \
          branch[b] == READ_ONLY ->                                                                 \
            branch[b] = PREPARED; closed[b] = false                     \
       :: else                                                                                      \
       fi;                                                                                          \
       if                                                                                           \
       :: logged && voted_xid[b] == prepared[b] -> ADD(commit_sent[b], epoch)                       \
       :: else -> ADD(abort_sent[b], epoch)                                                         \
       fi; check() }

#define SWEPT(b) (logged && voted_xid[b] == prepared[b] -> HAS(commit_sent[b], epoch)               \
                                                        : HAS(abort_sent[b], epoch))
#ifdef BUG_SWEEP_LIVE
#define MAY_SWEEP(b) (FENCED(b) && prepared[b] != 0 && !HAS(abort_sent[b], epoch))
#else
#define MAY_SWEEP(b) (!live && FENCED(b) && prepared[b] != 0 && (AT_AN_END(b) || !SWEPT(b)))
#endif

proctype coordinator() {
  bool live; /* the transaction is in the live table */
  bool aborting;
  byte sent; /* runs */

start:
  atomic { epoch++; live = epoch == 1 || (logged && !ended); aborting = false;
           ADD(fence_sent[0], epoch); ADD(fence_sent[1], epoch); check() }
  do
  /* -- crash, and the next life */
  :: epoch < LIVES -> goto start

  /* -- life 1 runs it: each run names the agent's incarnation, as the fence told it */
  :: atomic { epoch == 1 && !aborting && !logged && run_sent[0] == 0 && FENCED(0) ->
       run_sent[0] = incarnation[0]; check() }
  :: atomic { epoch == 1 && !aborting && !logged && run_sent[1] == 0 && FENCED(1) ->
       run_sent[1] = incarnation[1]; check() }
  /* -- all votes are in: the decision, with the xids voted, durable; the crash may come right before or
        right after */
  :: atomic { epoch == 1 && !aborting && !logged && live && run_sent[0] != 0 && run_sent[1] != 0 &&
              VOTED(0) && VOTED(1) ->
       if
       :: HAS(yes_sent[0], 1) -> voted_xid[0] = 1
       :: HAS(yes_sent[0], 2) -> voted_xid[0] = 2
       :: read_only_sent[0] -> voted_xid[0] = 0
       fi;
       if
       :: HAS(yes_sent[1], 1) -> voted_xid[1] = 1
       :: HAS(yes_sent[1], 2) -> voted_xid[1] = 2
       :: read_only_sent[1] -> voted_xid[1] = 0
       fi;
#ifdef BUG_SEND_BEFORE_LOG
       ADD(commit_sent[0], epoch);
#else
       logged = true;
#endif
       check() }
#ifdef BUG_SEND_BEFORE_LOG
  :: atomic { epoch == 1 && !logged && commit_sent[0] != 0 -> logged = true; check() }
#endif
#ifdef BUG_DECIDE_ON_ONE_VOTE
  :: atomic { epoch == 1 && !aborting && !logged && live && yes_sent[0] != 0 ->
       voted_xid[0] = 1; voted_xid[1] = 1; logged = true; check() }
#endif
  /* -- a no, or no answer in time, or the client: abort. Nothing durable: presumed */
  :: atomic { epoch == 1 && !aborting && !logged && live ->
       aborting = true; told_aborted = true; check() }
  :: atomic { epoch == 1 && aborting && live && run_sent[0] != 0 && !HAS(abort_sent[0], 1) ->
       ADD(abort_sent[0], 1); check() }
  :: atomic { epoch == 1 && aborting && live && run_sent[1] != 0 && !HAS(abort_sent[1], 1) ->
       ADD(abort_sent[1], 1); check() }
  :: atomic { epoch == 1 && aborting && live && (run_sent[0] == 0 || said_aborted[0]) &&
              (run_sent[1] == 0 || said_aborted[1]) ->
       live = false; check() }

  /* -- decided: tell the client (it asked for `decided`), send, confirm, end */
  :: atomic { logged && !told_committed -> told_committed = true; check() }
  :: atomic { live && logged && voted_xid[0] != 0 && !HAS(commit_sent[0], epoch) ->
       ADD(commit_sent[0], epoch); check() }
  :: atomic { live && logged && voted_xid[1] != 0 && !HAS(commit_sent[1], epoch) ->
       ADD(commit_sent[1], epoch); check() }
#ifdef BUG_FORGET_EARLY
  :: atomic { live && logged && (CONFIRMED(0) || CONFIRMED(1)) -> live = false; ended = true; check() }
#else
  :: atomic { live && logged && CONFIRMED(0) && CONFIRMED(1) -> live = false; ended = true; check() }
#endif
  /* -- a later life knows of no decision: aborted, by presumption */
  :: atomic { epoch > 1 && !logged && !told_aborted -> told_aborted = true; check() }

  /* -- recovery and sweep */
  SWEEP(0)
  SWEEP(1)
  od
}

/* When nothing more can happen everything is resolved: the same on both sides, nothing left. */
proctype rest() {
  timeout ->
  assert(epoch == LIVES);
  assert(prepared[0] == 0 && prepared[1] == 0);
  assert(session[0] == S_NONE && session[1] == S_NONE);
  assert(told_committed || told_aborted);
  assert(logged == ended);
  assert(!logged || ((voted_xid[0] == 0 || XACT(0, voted_xid[0]) == X_COMMITTED) &&
                     (voted_xid[1] == 0 || XACT(1, voted_xid[1]) == X_COMMITTED)));
  assert(logged || (!COMMITTED_AT(0) && !COMMITTED_AT(1)))
}

init {
  atomic {
    run agent(0); run agent(1); run database(0); run database(1); run coordinator(); run rest()
  }
}
