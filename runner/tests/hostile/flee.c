/* Leaves processes behind that do not want to be found: with a session of their own, stopped, deaf to signals, always under another id,
 * without any open file, and with a parent that they stopped. Then ends, or with an argument stays, stopped itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void deaf(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int signal = 1; signal < 65; signal++)
        sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

/* In a process whose parent has ended, in a session of its own. */
static int daemonised(void) {
    if (fork() != 0)
        return 0;
    setsid();
    if (fork() != 0)
        _exit(0);
    for (int fd = 0; fd < 64; fd++)
        close(fd);
    deaf();
    return 1;
}

static void *spin(void *unused) {
    for (;;)
        deaf();
    return unused;
}

int main(int argc, char **argv) {
    (void)argv;
    if (daemonised())
        for (;;)
            pause();
    if (daemonised())
        for (;;)
            raise(SIGSTOP);
    if (daemonised()) /* always another process, whose parent has ended */
        for (;;) {
            pid_t child = fork();
            if (child > 0)
                _exit(0);
            usleep(200);
        }
    if (daemonised()) {
        pthread_t thread;
        for (int i = 0; i < 4; i++)
            pthread_create(&thread, NULL, spin, NULL);
        pthread_exit(NULL); /* and its first thread has ended */
    }
    if (daemonised()) {
        if (fork() == 0)
            for (;;)
                kill(getppid(), SIGSTOP), usleep(1000);
        for (;;)
            pause();
    }
    if (daemonised())
        if (vfork() == 0)
            for (;;)
                pause();
    puts("fled");
    fflush(stdout);
    if (argc > 1)
        for (;;)
            kill(-1, SIGSTOP), raise(SIGSTOP);
    return 0;
}
