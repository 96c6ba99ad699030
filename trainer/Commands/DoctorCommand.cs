using System.CommandLine;
using System.Runtime.InteropServices;
using Avedis.Bindings;
using Avedis.Bindings.Mpi;
using Avedis.Bindings.Nccl;
using Avedis.Engine;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;
using Avedis.Trainer.Ranks;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>avedis doctor: what this machine offers, what was looked for where, and what to do about what is missing.</summary>
public static class DoctorCommand
{
    private static readonly string[] Variables =
    [
        FfmpegTool.Variable, "AVEDIS_NATIVE_DIR", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "AVEDIS_CUDA_LIBRARY", "CUDA_VISIBLE_DEVICES",
        HopperKernels.Variable, "NO_COLOR",
    ];

    private const double LongestPatience = 86400; // seconds

    public static Command Create()
    {
        var common = new CommonOptions();
        var patience = new Option<double>("--gpu-seconds")
        {
            Description = "Longest that the GPU's driver may take; the first time, one that has to compile the kernels takes minutes.",
            DefaultValueFactory = _ => 60,
        };
        var command = new Command("doctor", "Shows what avedis found on this machine, and what to do about what is missing.");
        command.Options.Add(common.Ffmpeg);
        command.Options.Add(patience);
        command.SetAction(parsed =>
        {
            double seconds = parsed.GetValue(patience);
            if (!(seconds is > 0 and <= LongestPatience))
                throw new UserException(ExitCode.Usage,
                    $"{patience.Name} is {seconds}; it has to be above 0 and at most {LongestPatience}");
            var output = parsed.InvocationConfiguration.Output;
            string version = typeof(DoctorCommand).Assembly.GetName().Version!.ToString(3);
            Screen.WriteFinding(output, "avedis",
                $"{version} on {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}");
            Screen.WriteFinding(output, "cores",
                $"{Environment.ProcessorCount}, memory {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1073741824.0:N1} GiB");
            bool computes = Try(output, "cpu", () =>
            {
                using var backend = BackendFactory.Create("cpu", 0);
                var precision = Precisions.Choose(Precision.Auto, backend);
                return $"{backend.Description}; {Precisions.Line(precision)}";
            });
            bool reads = Try(output, "ffmpeg", () =>
            {
                var tool = FfmpegTool.Find(parsed.GetValue(common.Ffmpeg));
                return $"{tool.Ffmpeg}: {tool.Version()}";
            });
            // a missing GPU is no fault: the program says so and works without
            bool answered = true;
            Try(output, "cuda", () => Gpu(TimeSpan.FromSeconds(seconds), out answered));
            // nor are faces that cannot be found: most corpora show nothing else
            Try(output, "faces", () =>
            {
                using var detector = new FaceDetector();
                return detector.Description;
            });
            // nor is a machine without MPI: it trains by itself
            Try(output, "mpi", () => $"{Mpi.Version}; {(Launcher.Find() is { } launcher ? $"started by {launcher.Name} as rank {launcher.Rank} of {launcher.Size}" : "not started by mpirun or srun: one process")}");
            // nor without NCCL: gradients of GPUs pass through the host then
            Try(output, "nccl", () => Nccl.Version);
            foreach (string variable in Variables)
                if (Environment.GetEnvironmentVariable(variable) is { } value)
                    output.WriteLine($"{variable}={value}");
            output.WriteLine((computes, reads) switch
            {
                (true, true) => "ready",
                (true, false) => "ready to train and evaluate on prepared data; what reads media (prepare, predict) needs ffmpeg: see the line marked MISSING",
                _ => "not ready: see the lines marked MISSING",
            });
            int code = computes && reads ? ExitCode.Ok : ExitCode.DeviceUnavailable;
            if (!answered)
            {
                // the end of the process would wait for the driver
                output.Flush();
                DurableFiles.ExitNow(code);
            }
            return code;
        });
        return command;
    }

    // a driver whose GPU has failed may never answer
    private static string Gpu(TimeSpan patience, out bool answered)
    {
        var opening = Task.Factory.StartNew(
            () =>
            {
                using var backend = BackendFactory.Create("cuda", 0);
                return backend.Description;
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        answered = Task.WaitAny([opening], patience) == 0;
        return answered
            ? opening.GetAwaiter().GetResult()
            : throw new DeviceUnavailableException(
                $"device cuda: the driver has not answered for {patience.TotalSeconds:0.#} s (--gpu-seconds): look into nvidia-smi and " +
                "the kernel's log (dmesg, Xid): a GPU that failed needs a reset; --device cpu works without a GPU");
    }

    private static bool Try(TextWriter output, string name, Func<string> find)
    {
        try
        {
            Screen.WriteFinding(output, name, find());
            return true;
        }
        catch (Exception error)
            when (error is DeviceUnavailableException or OutOfDeviceMemoryException or UserException or MpiException or NcclException)
        {
            Screen.WriteFinding(output, name, $"MISSING: {error.Message}");
            return false;
        }
    }
}
