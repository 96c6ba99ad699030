// Which functions a process looks up in libraries: preloaded by ./test, which counts the native functions that no test calls. .NET looks a function up at
// its first call.
//
//   AVEDIS_CALLS_FOLDER   a line for each function avedis_... is appended to the file of this process in it
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

// Read before main: other threads may change the environment while functions are looked up.
static char folder[4096];

__attribute__((constructor)) static void begin() {
    const char* named = getenv("AVEDIS_CALLS_FOLDER");
    if (named) snprintf(folder, sizeof folder, "%s", named);
}

static void note(const char* name) {
    if (!*folder || strncmp(name, "avedis_", 7) != 0) return;
    char path[sizeof folder + 16];
    snprintf(path, sizeof path, "%s/%d", folder, static_cast<int>(getpid()));
    if (FILE* file = fopen(path, "ae")) {
        fprintf(file, "%s\n", name);
        fclose(file);
    }
}

using lookup = void* (*)(void*, const char*);

static lookup real() {
    // dlsym cannot be asked for itself. glibc 2.34 gave it a new version and keeps this one.
    static std::atomic<lookup> found{nullptr};
    if (!found) found = reinterpret_cast<lookup>(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
    return found;
}

// The call at the end must be a jump: of RTLD_NEXT, the C library takes the return address for the one who asks.
extern "C" __attribute__((visibility("default"), optimize("O2"))) void* dlsym(void* library, const char* name) noexcept {
    note(name);
    return real()(library, name);
}
