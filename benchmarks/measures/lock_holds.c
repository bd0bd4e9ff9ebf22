/* Notes how long each thread holds CPython's interpreter lock. Preloaded (LD_PRELOAD) into the process to be measured.

   A thread signals one condition when it has taken the lock, and another one when it gives the lock back
   (Python/ceval_gil.c: take_gil and drop_gil). The first signal of a thread is that of its first taking. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 20 };

typedef struct {
    int64_t thread, wall, processor; /* identifier of the system, and nanoseconds */
} Hold;

static Hold holds[MOST];
static atomic_long count;
static atomic_int noting;

static _Thread_local struct {
    pthread_cond_t *taken;
    int64_t thread, wall, processor;
} own;

static int64_t
now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void
given_back(void)
{
    long number = own.wall ? atomic_fetch_add(&count, 1) : MOST;
    if (number < MOST)
        holds[number] = (Hold){own.thread, now(CLOCK_MONOTONIC) - own.wall, now(CLOCK_THREAD_CPUTIME_ID) - own.processor};
    own.wall = 0;
}

int
pthread_cond_signal(pthread_cond_t *condition)
{
    static int (*really)(pthread_cond_t *);
    if (!really)
        really = dlvsym(RTLD_NEXT, "pthread_cond_signal", "GLIBC_2.3.2"); /* x86-64 has an older one, too */
    if (!really)
        really = dlsym(RTLD_NEXT, "pthread_cond_signal");
    if (!own.taken) {
        own.taken = condition;
        own.thread = gettid();
    }
    if (condition != own.taken)
        given_back();
    int done = really(condition);
    if (condition == own.taken && noting) {
        own.processor = now(CLOCK_THREAD_CPUTIME_ID);
        own.wall = now(CLOCK_MONOTONIC);
    }
    return done;
}

/* Begin to note, or end it. */
void
note_holds(int on)
{
    noting = on;
}

/* Return the holds that were noted, and set their number. */
const Hold *
noted_holds(long *number)
{
    long found = count;
    *number = found < MOST ? found : MOST;
    return holds;
}
