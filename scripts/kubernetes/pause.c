/* Process 1 of a pod's sandbox and of the node: keeps their namespaces and reaps the orphans that end in them. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal) {
  (void)signal;
  _exit(0);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, 0, WNOHANG) > 0)
    ;
}

int main(void) {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  signal(SIGCHLD, reap);
  reap(0); /* children that ended before the handler was set */
  for (;;)
    pause();
}
