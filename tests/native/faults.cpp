// Faults of a disk, for a process that preloads this library: system calls that change files under one folder are counted, and one of them fails, is
// cut short, or is the last thing that the process does.
//
//   AVEDIS_FAULT_PATH    counted are calls on paths that contain this
//   AVEDIS_FAULT_CALL    number of the call that is hit, from 1; 0 or absent: none, only counted
//   AVEDIS_FAULT_KIND    EIO, ENOSPC, EINTR: the call fails so; SHORT: a write does half; KILL: SIGKILL in place of the call;
//                        what a file system lacks, whatever the number: NOEXCHANGE: two names cannot be exchanged; NOFOLDERS: fsync
//                        of a folder fails; NOREPLACE: no file gets the name of another; NOLOCKS: flock fails; NOLINKS: link fails
//   AVEDIS_FAULT_ERROR   number of the error that the last four give; absent: EINVAL
//   AVEDIS_FAULT_FOREVER if set, every call from that one on
//   AVEDIS_FAULT_LOG     a line "number name path" for each call is appended to this file
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::atomic<int> calls{0};

template <class F>
F real(const char* name) {
    return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

#define REAL(name) real<decltype(&name)>(#name)

enum class fault { none, fail, cut };

// Whether this call is hit; a call that is to fail has errno set. Keeps errno otherwise.
fault next(const char* name, const char* path) {
    const char* wanted = getenv("AVEDIS_FAULT_PATH");
    if (!wanted || !path || !strstr(path, wanted)) return fault::none;
    int number = ++calls, saved = errno;
    if (const char* log = getenv("AVEDIS_FAULT_LOG")) {
        char line[4200];
        int length = snprintf(line, sizeof(line), "%d %s %s\n", number, name, path);
        int file = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (file >= 0) {
            [[maybe_unused]] auto written = REAL(write)(file, line, static_cast<size_t>(length));
            REAL(close)(file);
        }
    }
    errno = saved;
    const char *call = getenv("AVEDIS_FAULT_CALL"), *kind = getenv("AVEDIS_FAULT_KIND");
    int hit = call ? atoi(call) : 0;
    if (!kind || hit == 0 || number < hit || (number > hit && !getenv("AVEDIS_FAULT_FOREVER"))) return fault::none;
    if (!strcmp(kind, "KILL")) kill(getpid(), SIGKILL);
    if (!strcmp(kind, "SHORT")) return fault::cut;
    errno = !strcmp(kind, "ENOSPC") ? ENOSPC : !strcmp(kind, "EINTR") ? EINTR : EIO;
    return fault::fail;
}

fault next(const char* name, int file) {
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0) return fault::none;
    path[length] = 0;
    return next(name, path);
}

// Whether the file system lacks what a kind stands for; errno is set if so.
bool lacks(const char* what) {
    const char *kind = getenv("AVEDIS_FAULT_KIND"), *error = getenv("AVEDIS_FAULT_ERROR");
    if (!kind || strcmp(kind, what)) return false;
    errno = error ? atoi(error) : EINVAL;
    return true;
}

bool is_folder(int file) {
    struct stat status;
    return fstat(file, &status) == 0 && S_ISDIR(status.st_mode);
}

bool changes(int flags) {
    return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_DIRECTORY)) != 0;
}

}  // namespace

EXPORT ssize_t write(int file, const void* data, size_t count) {
    fault f = next("write", file);
    return f == fault::fail ? -1 : REAL(write)(file, data, f == fault::cut ? (count + 1) / 2 : count);
}

EXPORT ssize_t pwrite(int file, const void* data, size_t count, off_t offset) {
    fault f = next("pwrite", file);
    return f == fault::fail ? -1 : REAL(pwrite)(file, data, f == fault::cut ? (count + 1) / 2 : count, offset);
}

EXPORT ssize_t pwrite64(int file, const void* data, size_t count, off64_t offset) {
    fault f = next("pwrite", file);
    return f == fault::fail ? -1 : REAL(pwrite64)(file, data, f == fault::cut ? (count + 1) / 2 : count, offset);
}

EXPORT int fsync(int file) {
    return next("fsync", file) == fault::fail || (is_folder(file) && lacks("NOFOLDERS")) ? -1 : REAL(fsync)(file);
}

EXPORT int ftruncate(int file, off_t length) {
    return next("ftruncate", file) == fault::fail ? -1 : REAL(ftruncate)(file, length);
}

EXPORT int ftruncate64(int file, off64_t length) {
    return next("ftruncate", file) == fault::fail ? -1 : REAL(ftruncate64)(file, length);
}

EXPORT int rename(const char* from, const char* to) {
    if (next("rename", from) == fault::fail || (access(to, F_OK) == 0 && lacks("NOREPLACE"))) return -1;
    return REAL(rename)(from, to);
}

EXPORT int flock(int file, int operation) {
    return lacks("NOLOCKS") ? -1 : REAL(flock)(file, operation);
}

EXPORT int link(const char* from, const char* to) {
    return lacks("NOLINKS") ? -1 : REAL(link)(from, to);
}

EXPORT int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    fault f = next("renameat2", from);
    if (const char* kind = getenv("AVEDIS_FAULT_KIND"); kind && !strcmp(kind, "NOEXCHANGE")) {
        errno = EINVAL;
        return -1;
    }
    return f == fault::fail ? -1 : REAL(renameat2)(from_folder, from, to_folder, to, flags);
}

EXPORT int mkdir(const char* path, mode_t mode) {
    return next("mkdir", path) == fault::fail ? -1 : REAL(mkdir)(path, mode);
}

EXPORT int unlink(const char* path) {
    return next("unlink", path) == fault::fail ? -1 : REAL(unlink)(path);
}

EXPORT int rmdir(const char* path) {
    return next("rmdir", path) == fault::fail ? -1 : REAL(rmdir)(path);
}

EXPORT int open(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return changes(flags) && next("open", path) == fault::fail ? -1 : REAL(open)(path, flags, mode);
}

EXPORT int open64(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return changes(flags) && next("open", path) == fault::fail ? -1 : REAL(open64)(path, flags, mode);
}
