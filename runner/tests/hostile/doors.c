/* Tries what confined code must not be able to do, with the arguments that would do it. One line per attempt: its name, and "refused" or
 * "GOT" with what came of it. Attempts whose names begin with "scoped" or "landlock" need a kernel with that.
 *
 * Usage: doors SUPERVISOR ABSTRACT-NAME SOCKET-PATH; "doors socket" only opens a socket. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int tried;

static void told(const char *name, long result) {
    int error = errno;
    tried++;
    if (result == -1 && (error == EPERM || error == EACCES || error == ENOSYS))
        printf("%s refused\n", name);
    else
        printf("%s GOT %ld (%s)\n", name, result, result == -1 ? strerror(error) : "no error");
    errno = 0;
}

#define TRY(name, call) (errno = 0, told(name, (long)(call)))

static void sockets(void) {
    char name[64];
    for (int family = 0; family < 48; family++) {
        if (family == AF_UNIX)
            continue;
        for (int kind = SOCK_STREAM; kind <= SOCK_SEQPACKET; kind++) {
            snprintf(name, sizeof name, "socket-%d-%d", family, kind);
            TRY(name, syscall(SYS_socket, family, kind, 0));
        }
    }
    int pair[2];
    TRY("socketpair-inet", syscall(SYS_socketpair, AF_INET, SOCK_STREAM, 0, pair));
}

/* The same program from memory, without a file: it is as confined. */
static void from_memory(const char *self) {
    int memory = memfd_create("doors", 0), file = open(self, O_RDONLY);
    struct stat size;
    if (memory < 0 || file < 0 || fstat(file, &size) != 0) {
        puts("memfd GOT no memory file: the attempt is broken");
        return;
    }
    while (copy_file_range(file, NULL, memory, NULL, size.st_size, 0) > 0) {
    }
    if (lseek(memory, 0, SEEK_END) != size.st_size) {
        char buffer[4096];
        ssize_t count;
        lseek(file, 0, SEEK_SET), lseek(memory, 0, SEEK_SET);
        while ((count = read(file, buffer, sizeof buffer)) > 0)
            if (write(memory, buffer, count) != count)
                puts("memfd GOT a short write: the attempt is broken");
    }
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {"doors", "socket", NULL}, *env[] = {NULL};
        fexecve(memory, argv, env);
        _exit(77);
    }
    int status = 0;
    waitpid(child, &status, 0);
    errno = EPERM;
    told("memfd-socket", WIFEXITED(status) && WEXITSTATUS(status) == 1 ? -1 : status);
    close(memory), close(file);
}

static void other_abis(void) {
#if defined(__x86_64__) && !defined(__ILP32__)
    TRY("x32-socket", syscall(0x40000000 | SYS_socket, AF_INET, SOCK_STREAM, 0));
    TRY("x32-ptrace", syscall(0x40000000 | 521, PTRACE_ATTACH, 1, 0, 0));
    TRY("x32-getpid", syscall(0x40000000 | SYS_getpid));
    pid_t child = fork();
    if (child == 0) {
        long result;
        /* 359 is socket in the table of 32-bit programs. */
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(359L), "b"(2L), "c"(1L), "d"(0L) : "memory");
        _exit(result < 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    errno = EPERM;
    told("int80-socket", WIFSIGNALED(status) ? -1 : status);
#endif
}

static void namespaces(void) {
    const struct { const char *name; unsigned long flag; } all[] = {
        {"user", CLONE_NEWUSER}, {"net", CLONE_NEWNET}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
        {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80},
    };
    char name[64];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(name, sizeof name, "unshare-%s", all[i].name);
        TRY(name, syscall(SYS_unshare, all[i].flag));
        struct clone_args args = {.flags = all[i].flag, .exit_signal = SIGCHLD};
        snprintf(name, sizeof name, "clone3-%s", all[i].name);
        long child = syscall(SYS_clone3, &args, sizeof args);
        if (child == 0)
            _exit(0);
        told(name, child);
        if (all[i].flag == 0x80)
            continue; /* clone has another meaning for this bit */
        snprintf(name, sizeof name, "clone-%s", all[i].name);
        child = syscall(SYS_clone, all[i].flag | SIGCHLD, 0, 0, 0, 0);
        if (child == 0)
            _exit(0);
        told(name, child);
    }
    int self = open("/proc/self/ns/net", O_RDONLY);
    TRY("setns", syscall(SYS_setns, self, 0));
    close(self);
}

static void kernel(void) {
    static char page[4096];
    struct iovec io = {page, sizeof page};
    pid_t parent = getppid(), own = getpid();
    TRY("io_uring_setup", syscall(SYS_io_uring_setup, 8, page));
    TRY("io_uring_enter", syscall(SYS_io_uring_enter, 0, 1, 0, 0, 0));
    TRY("io_uring_register", syscall(SYS_io_uring_register, 0, 0, 0, 0));
    TRY("bpf", syscall(SYS_bpf, 5, page, 48));
    TRY("add_key", syscall(SYS_add_key, "user", "k", "v", 1, -3));
    TRY("request_key", syscall(SYS_request_key, "user", "k", 0, -3));
    TRY("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    TRY("perf_event_open", syscall(SYS_perf_event_open, page, 0, -1, -1, 0));
    TRY("userfaultfd", syscall(SYS_userfaultfd, 1));
    TRY("memfd_secret", syscall(SYS_memfd_secret, 0));
    TRY("ptrace-me", syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0));
    TRY("process_vm_readv-own", syscall(SYS_process_vm_readv, own, &io, 1, &io, 1, 0));
    TRY("process_vm_writev-own", syscall(SYS_process_vm_writev, own, &io, 1, &io, 1, 0));
    TRY("kcmp", syscall(SYS_kcmp, own, parent, 0, 0, 0));
    TRY("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
    TRY("umount2", syscall(SYS_umount2, "/tmp", 2));
    TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("open_tree", syscall(SYS_open_tree, -100, "/", 1));
    TRY("move_mount", syscall(SYS_move_mount, -100, "/", -100, "/tmp", 0));
    TRY("mount_setattr", syscall(SYS_mount_setattr, -100, "/", 0, page, 32));
    TRY("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    TRY("chroot", syscall(SYS_chroot, "/"));
    TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, page, 0));
    TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    TRY("kexec_file_load", syscall(SYS_kexec_file_load, -1, -1, 0, 0, 0));
    TRY("init_module", syscall(SYS_init_module, page, 0, ""));
    TRY("finit_module", syscall(SYS_finit_module, -1, "", 0));
    TRY("delete_module", syscall(SYS_delete_module, "none", 0));
    TRY("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    TRY("swapon", syscall(SYS_swapon, "/none", 0));
    TRY("acct", syscall(SYS_acct, 0));
    TRY("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
    TRY("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    TRY("syslog", syscall(SYS_syslog, 3, page, sizeof page));
    TRY("settimeofday", syscall(SYS_settimeofday, 0, 0));
    TRY("clock_settime", syscall(SYS_clock_settime, 0, page));
    TRY("sethostname", syscall(SYS_sethostname, "x", 1));
    TRY("mknod-device", mknod("device", S_IFBLK | 0600, 0x801));
    TRY("setresuid", setresuid(0, 0, 0));
    TRY("setresgid", setresgid(0, 0, 0));
}

/* What the kernel grants to every process of the same user, and an id may be that of a thread. */
static void at(pid_t id, pid_t group) {
    char name[64];
#define ON(what, call) (snprintf(name, sizeof name, "%s-%d", what, (int)id), TRY(name, call))
    siginfo_t forged = {.si_signo = SIGTERM, .si_code = SI_QUEUE}; /* its sender stays 0 */
    struct rlimit none = {0, 0};
    struct sched_param param = {0};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    ON("kill-term", syscall(SYS_kill, id, SIGTERM));
    ON("kill-kill", syscall(SYS_kill, id, SIGKILL));
    ON("kill-stop", syscall(SYS_kill, id, SIGSTOP));
    ON("kill-segv", syscall(SYS_kill, id, SIGSEGV));
    ON("tkill", syscall(SYS_tkill, id, SIGTERM));
    ON("tgkill", syscall(SYS_tgkill, group, id, SIGTERM));
    ON("sigqueue", syscall(SYS_rt_sigqueueinfo, id, SIGTERM, &forged));
    ON("tgsigqueue", syscall(SYS_rt_tgsigqueueinfo, group, id, SIGTERM, &forged));
    ON("pidfd_open", syscall(SYS_pidfd_open, id, 0));
    ON("ptrace-attach", syscall(SYS_ptrace, PTRACE_ATTACH, id, 0, 0));
    ON("ptrace-seize", syscall(SYS_ptrace, PTRACE_SEIZE, id, 0, 0));
    ON("prlimit-files", syscall(SYS_prlimit64, id, RLIMIT_NOFILE, &none, 0));
    ON("prlimit-cpu", syscall(SYS_prlimit64, id, RLIMIT_CPU, &none, 0));
    ON("affinity", syscall(SYS_sched_setaffinity, id, sizeof cpus, &cpus));
    ON("scheduler-idle", syscall(SYS_sched_setscheduler, id, SCHED_IDLE, &param));
    ON("nice", syscall(SYS_setpriority, PRIO_PROCESS, id, 19));
}

static void supervisor(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    at(pid, pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));)
        if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != pid)
            at(atoi(entry->d_name), pid);
    if (tasks)
        closedir(tasks);
    TRY("nice-user", syscall(SYS_setpriority, PRIO_USER, 0, 19));
    const char *files[] = {"environ", "mem", "maps", "smaps", "auxv", "stack", "syscall", "pagemap", "io", "personality"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char byte, name[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
        snprintf(name, sizeof name, "read-%s", files[i]);
        errno = 0;
        int fd = open(path, O_RDONLY);
        /* Some are checked at open, some at read. */
        told(name, fd == -1 ? -1 : pread(fd, &byte, 1, 0) > 0 ? fd : (errno = EPERM, -1));
    }
    const char *settings[] = {"mem", "oom_score_adj", "coredump_filter", "comm", "clear_refs", "timerslack_ns"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char name[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, settings[i]);
        snprintf(name, sizeof name, "write-%s", settings[i]);
        errno = 0;
        int fd = open(path, O_WRONLY); /* as above */
        told(name, fd == -1 ? -1 : write(fd, "50000", 5));
    }
    const char *links[] = {"root/etc/passwd", "cwd/x", "exe", "fd/0", "ns/pid"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        char name[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, links[i]);
        snprintf(name, sizeof name, "follow-%s", links[i]);
        TRY(name, open(path, O_RDONLY));
    }
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    int dir = open(path, O_DIRECTORY | O_RDONLY);
    siginfo_t forged = {.si_signo = SIGTERM, .si_code = SI_QUEUE};
    TRY("scoped-pidfd-of-proc", syscall(SYS_pidfd_send_signal, dir, SIGTERM, &forged, 0));
    /* A signal that the kernel sends when a pipe can be read: nobody is told whether it arrived. */
    int ends[2];
    if (pipe(ends) == 0) {
        fcntl(ends[0], F_SETOWN, pid), fcntl(ends[0], F_SETSIG, SIGTERM), fcntl(ends[0], F_SETFL, O_ASYNC);
        if (write(ends[1], "x", 1) != 1)
            puts("async GOT no pipe: the attempt is broken");
        close(ends[0]), close(ends[1]);
    }
    close(dir);
}

static long reach(const char *path, int length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, length);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    long result = connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static void surroundings(const char *abstract, const char *gone) {
    char name[108] = "";
    snprintf(name + 1, sizeof name - 1, "%s", abstract);
    TRY("scoped-abstract-socket", reach(name, 1 + (int)strlen(abstract)));
    errno = 0;
    long result = reach(gone, (int)strlen(gone) + 1);
    told("control-socket", result == -1 && errno == ENOENT ? (errno = EPERM, -1) : result);
    TRY("landlock-write-etc", open("/etc/x", O_CREAT | O_WRONLY, 0600));
    TRY("landlock-write-var-tmp", open("/var/tmp/x", O_CREAT | O_WRONLY, 0600));
    TRY("landlock-core-pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    TRY("landlock-own-score", open("/proc/self/oom_score_adj", O_WRONLY));
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(dir))
            printf("descriptor %s GOT: it was inherited\n", entry->d_name);
    if (dir)
        closedir(dir);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2)
        return socket(AF_INET, SOCK_STREAM, 0) == -1;
    if (argc != 4)
        return 2;
    surroundings(argv[2], argv[3]); /* first, while nothing is open */
    sockets();
    from_memory(argv[0]);
    other_abis();
    namespaces();
    kernel();
    supervisor(atoi(argv[1]));
    int pair[2];
    printf("control: unix sockets %s, own limits %s\n", socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? "work" : "are refused",
           prlimit(0, RLIMIT_NOFILE, NULL, &(struct rlimit){0}) == 0 ? "work" : "are refused");
    printf("tried %d\n", tried);
    return 0;
}
