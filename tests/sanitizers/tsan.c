/* What ThreadSanitizer's runtime lacks; `scripts/sanitize.sh tsan` links this into each program.
 *
 * It learns that a thread was joined from the joins that it intercepts, of which pthread_clockjoin_np
 * (glibc 2.31) is none. What was joined by that would go on living for it: it would not see what the
 * join orders, and would abort when libc gives the same pthread_t to the next thread. So here that is
 * pthread_timedjoin_np, which it intercepts: the same wait, whose deadline is on another clock. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <time.h>

#define SECOND 1000000000L

int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *deadline) {
    struct timespec now, here;
    if (clock_gettime(clock, &now) != 0 || clock_gettime(CLOCK_REALTIME, &here) != 0)
        return errno;
    here.tv_sec += deadline->tv_sec - now.tv_sec;
    here.tv_nsec += deadline->tv_nsec - now.tv_nsec;
    if (here.tv_nsec < 0) {
        here.tv_sec -= 1;
        here.tv_nsec += SECOND;
    } else if (here.tv_nsec >= SECOND) {
        here.tv_sec += 1;
        here.tv_nsec -= SECOND;
    }
    /* Before 1970: long past, and no time that the kernel takes. */
    if (here.tv_sec < 0)
        here.tv_sec = 0;
    return pthread_timedjoin_np(thread, result, &here);
}
