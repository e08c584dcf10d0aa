/* What LeakSanitizer cannot know; `scripts/sanitize.sh asan` links this into each program.
 *
 * In a child of fork(2) the other threads are gone, and with them what pointed from their stacks and
 * registers to their memory. If such a child ends by exit(3), all of that counts as leaked. So there
 * nothing is asked about leaks; in the parent it is. */

#include <pthread.h>

static int is_a_child;

static void after_fork_in_child(void) { is_a_child = 1; }

__attribute__((constructor)) static void notice_forks(void) {
    pthread_atfork(0, 0, after_fork_in_child);
}

/* Asked by the sanitizer before it looks for leaks. */
int __lsan_is_turned_off(void) { return is_a_child; }

/* A panic's payload whose drop panics: what that panics with is forgotten on purpose, since its drop
 * may panic again. */
const char *__lsan_default_suppressions(void) { return "leak:threadbare::thread::hooks::discard\n"; }
