// absl::Mutex and absl::CondVar for C.

#include <absl/synchronization/mutex.h>

extern "C" {

void *absl_mutex_new() { return new absl::Mutex; }
void absl_mutex_lock(void *mutex) { static_cast<absl::Mutex *>(mutex)->Lock(); }
void absl_mutex_unlock(void *mutex) { static_cast<absl::Mutex *>(mutex)->Unlock(); }
void absl_mutex_free(void *mutex) { delete static_cast<absl::Mutex *>(mutex); }

void *absl_cond_new() { return new absl::CondVar; }
void absl_cond_wait(void *cond, void *mutex) {
    static_cast<absl::CondVar *>(cond)->Wait(static_cast<absl::Mutex *>(mutex));
}
void absl_cond_signal(void *cond) { static_cast<absl::CondVar *>(cond)->Signal(); }
void absl_cond_broadcast(void *cond) { static_cast<absl::CondVar *>(cond)->SignalAll(); }
void absl_cond_free(void *cond) { delete static_cast<absl::CondVar *>(cond); }

}
