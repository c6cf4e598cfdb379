/* Leaves behind what outlives a process and is no file of the workspace. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

int main(void) {
    enum { SIZE = 8 << 20 };
    int segment = shmget(0x4711, SIZE, IPC_CREAT | 0600);
    char *memory = shmat(segment, NULL, 0);
    int shared = shm_open("/left", O_CREAT | O_RDWR, 0600);
    struct { long kind; char text[64]; } message = {1, "left behind"};
    int queue = msgget(0x4711, IPC_CREAT | 0600);
    if (memory == (void *)-1)
        return perror("shmget"), 1;
    if (ftruncate(shared, SIZE) != 0)
        return perror("shm_open"), 1;
    if (semget(0x4711, 4, IPC_CREAT | 0600) == -1)
        return perror("semget"), 1;
    if (msgsnd(queue, &message, sizeof message.text, 0) != 0)
        return perror("msgget"), 1;
    /* Landlock keeps programs from these. */
    if (mq_open("/left", O_CREAT | O_RDWR, 0600, NULL) == (mqd_t)-1 && errno != EACCES)
        return perror("mq_open"), 1;
    memset(memory, 1, SIZE);
    puts("left");
    return 0;
}
