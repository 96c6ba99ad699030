"""What tests/mutate and tests/mutate-kernels share: native libraries with a change in their sources, and the tests that are run with a mutant."""
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "Avedis.Tests.dll"
WALL_SECONDS = 3600  # a mutant may wait for ever; long, as the machine may have other things to do


class DoesNotCompile(Exception):
    """A mutant that the compiler refuses, with what it says."""


class NoTest(Exception):
    """A regular expression that matches no test, or none that runs on this machine."""


class Library:
    """A library that CMake has built. With a change in its sources it is compiled as CMake does, as far as the change reaches, and linked with CMake's other objects."""

    def __init__(self, sources, target, *options):
        """sources: the folder of its sources and of its CMakeLists.txt; options: of the compiler, those that CMake gives to single files."""
        self.sources, self.options = ROOT / sources, options
        self.build = ROOT / "artifacts/cmake" / sources
        self.objects = self.build / f"CMakeFiles/{target}.dir"

    def affected(self, file):
        """The sources that contain this one, itself included: the compiler has written down what each of them includes."""
        changed = str(self.sources / file)
        return [dependencies.relative_to(self.objects).as_posix().removesuffix(".o.d") for dependencies in sorted(self.objects.rglob("*.o.d"))
                if changed in map(os.path.normpath, dependencies.read_text().replace("\\\n", " ").split())]

    def mutant(self, folder, file, text):
        """The path of the library whose source `file` reads `text`; what it is made from goes into the folder."""
        copy = folder / "sources"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.sources, copy)
        (copy / file).write_text(text)
        flags = " ".join(re.findall(r"^CXX_(?:DEFINES|INCLUDES|FLAGS) = (.*)$", (self.objects / "flags.make").read_text(), re.MULTILINE))
        link = shlex.split((self.objects / "link.txt").read_text())
        output = link.index("-o") + 1
        library = folder / pathlib.Path(link[output]).name
        link[output] = str(library)
        for source in self.affected(file):
            compiled = copy / f"{source}.o"
            call = run(["c++", *shlex.split(flags), "-w", *self.options, "-c", str(copy / source), "-o", str(compiled)])
            if call.returncode:
                raise DoesNotCompile(call.stderr)
            link[link.index(f"{self.objects.relative_to(self.build)}/{source}.o")] = str(compiled)
        call = run(link, cwd=self.build)
        if call.returncode:
            raise DoesNotCompile(call.stderr)
        return library


NATIVE = Library("bindings/native", "avedis_cpu")
EMULATION = Library("kernels", "kernels_emulated", "-x", "c++", "-fsanitize=alignment", "-fno-sanitize-recover=alignment")


def first_failure(program, tests, log, environment, cpu_seconds):
    """The first test that fails, or None; ends the run there. program: the folder of the built tests; tests: a regular expression of full names."""
    with log.open("w") as output:
        process = subprocess.Popen(
            ["dotnet", str(program / PROGRAM), "--filter", tests], env=dict(os.environ, **environment), stdout=output, stderr=output, start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds)))
    start = time.monotonic()
    try:
        while True:
            ended = process.poll() is not None
            text = log.read_text(errors="replace")
            if failed := re.search(r"^FAILED (.*)\n", text, re.MULTILINE):
                return failed[1]
            if ended and "no test ran" in text:
                raise NoTest(tests)
            if ended:
                # 1 without a test that failed: the runner found one too slow, which says something of the machine alone
                return None if process.returncode in (0, 1) else f"the program itself, which ended with {process.returncode}: {(text.strip().splitlines() or [''])[0]}"
            if time.monotonic() - start > WALL_SECONDS:
                return f"the clock: no end after {WALL_SECONDS} s"
            time.sleep(0.1)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        except ProcessLookupError:
            pass
        process.wait()


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)
