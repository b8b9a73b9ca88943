/* Holds namespaces open until it is told to end. As the first process of a pod it collects what other processes leave. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void collect(int number)
{
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static void leave(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    signal(SIGCHLD, collect);
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    for (;;) {
        pause();
    }
}
