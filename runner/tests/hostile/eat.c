/* Takes memory without an end, in the way that the argument names; "slowly" is 1 GB/s at most. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static void heap(int pause) {
    for (;;) {
        char *piece = malloc(MIB);
        if (piece)
            memset(piece, 1, MIB);
        if (pause)
            usleep(1000);
    }
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "heap") == 0)
        heap(0);
    if (strcmp(how, "slowly") == 0)
        heap(1);
    if (strcmp(how, "children") == 0) { /* each within the limit, all together not */
        for (int i = 0; i < 8; i++)
            if (fork() == 0) {
                char *piece = malloc(16 * MIB);
                for (size_t at = 0; piece && at < 16 * MIB; at += MIB)
                    memset(piece + at, 1, MIB), usleep(1000);
                for (;;)
                    pause();
            }
        for (;;)
            pause();
    }
    if (strcmp(how, "memory-files") == 0) { /* which no process maps */
        static char piece[MIB];
        memset(piece, 1, sizeof piece);
        for (int fd = -1, count = 0;; count++) {
            if (count % 8 == 0)
                fd = memfd_create("eat", 0);
            if (write(fd, piece, sizeof piece) != sizeof piece)
                return 3;
            usleep(1000);
        }
    }
    if (strcmp(how, "segments") == 0) /* System V, attached only while they are filled */
        for (;;) {
            int id = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
            char *piece = shmat(id, NULL, 0);
            if (piece == (void *)-1)
                return 3;
            memset(piece, 1, MIB), shmdt(piece), usleep(1000);
        }
    return 2;
}
