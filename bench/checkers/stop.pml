/* The stop that takes the last CPU out, written by hand for Spin: what `standstill check` runs as real code.
 *
 * Switches (spin -D...):
 *   N          CPUs; the last one leaves
 *   IRQS       device interrupts that each of the others may get; its handler sends one async call to the last CPU
 *   SPLIT      0: all CPUs close their interrupts in one stage; 1: those that stay first, then the one that leaves
 *   DRAIN      0: nobody drains; 1: at the start of RUN, before the CPU leaves the mask
 *   DEAF       0: the leaver's interrupts come back at EXIT; 1: it parks as it is
 *   DELAYED    0: an IPI is taken at the next instruction boundary; 1: at any later time
 *
 * One step is one access to shared memory, or one change of an interrupt flag. A waiting loop is a guard, so polling costs no states.
 * Checked: no handler finds a call on an offline CPU (W), no IPI is taken there (S), no call is left when the CPU is dead (L).
 */
#define LEAVER (N - 1)
#if SPLIT
#define DEAF_OTHERS 2
#define DEAF_LEAVER 3
#else
#define DEAF_OTHERS 2
#define DEAF_LEAVER 2
#endif
#define RUN  (DEAF_LEAVER + 1)
#define EXIT (RUN + 1)

byte stage = 1;            /* PREPARE: the works are queued */
byte missing = N;          /* acknowledgements */
bool online = true;        /* the leaver's bit */
bool closed[N];            /* interrupts are off */
bool handling[N];          /* in a handler */
bool pending;              /* the leaver's call vector: one bit, as in a local APIC */
byte calls;                /* in the leaver's queue */
byte budget[N];            /* device interrupts to come */
bool dead;

/* The code below a handler stands still, and with instant IPIs an interrupt that can be taken goes first. */
#if DELAYED
#define MAY_STEP(me) (!handling[me])
#else
#define MAY_STEP(me) (!handling[me] && !(me == LEAVER && pending && !closed[me]))
#endif

proctype stopper(byte me) {
  byte seen = 0;
  bool last;
  do
  :: atomic { MAY_STEP(me) && stage != seen -> seen = stage };
     if
     :: (seen == DEAF_OTHERS && me != LEAVER) || (seen == DEAF_LEAVER && me == LEAVER) ->
          atomic { MAY_STEP(me) -> closed[me] = true }
     :: seen == RUN && me == LEAVER ->
#if DRAIN
          atomic { MAY_STEP(me) -> calls = 0 };
#endif
          atomic { MAY_STEP(me) -> online = false }
     :: else
     fi;
     atomic { MAY_STEP(me) -> missing--; last = (missing == 0) };
     if
     :: last ->
          atomic { MAY_STEP(me) -> missing = N };
          atomic { MAY_STEP(me) -> stage = seen + 1 }
     :: else
     fi;
     if
     :: seen == EXIT -> break
     :: else
     fi
  od;
#if DEAF
  if
  :: me == LEAVER -> dead = true
  :: else -> atomic { MAY_STEP(me) -> closed[me] = false }
  fi
#else
  atomic { MAY_STEP(me) -> closed[me] = false };
  if
  :: me == LEAVER -> atomic { MAY_STEP(me) -> closed[me] = true; dead = true }
  :: else
  fi
#endif
}

proctype interrupts(byte me) {
  bool first;
end:
  do
  :: atomic { me != LEAVER && budget[me] > 0 && !closed[me] && !handling[me] ->
              handling[me] = true; budget[me]-- };
     if
     :: online ->
          atomic { first = (calls == 0); calls++ };
          if
          :: first -> pending = true
          :: else
          fi
     :: else
     fi;
     handling[me] = false
  :: atomic { me == LEAVER && pending && !closed[me] && !handling[me] ->
              handling[me] = true; pending = false; assert(online) };
     atomic { assert(online || calls == 0); calls = 0 };
     handling[me] = false
  od
}

active proctype at_the_end() {
  /* Only when nothing else can move. */
  timeout -> assert(dead && calls == 0)
}

init {
  byte cpu = 0;
  atomic {
    do
    :: cpu < N ->
         if
         :: cpu != LEAVER -> budget[cpu] = IRQS
         :: else
         fi;
         run stopper(cpu);
         run interrupts(cpu);
         cpu++
    :: else -> break
    od
  }
}
