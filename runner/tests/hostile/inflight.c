/* Sends its own output's descriptors through a pair of sockets that are themselves on their way through each other, and ends: no process has
 * them any more, but they stay open until the kernel collects such garbage. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int pass(int through, const int *fds, size_t size) {
    char byte = 0, control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(size)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), fds, size);
    return sendmsg(through, &message, 0) == 1;
}

int main(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
        return 1;
    int fds[4] = {1, 2, pair[0], pair[1]};
    int sent = pass(pair[0], fds, sizeof fds) && pass(pair[1], fds, sizeof fds);
    puts(sent ? "sent" : "not sent");
    return 0;
}
