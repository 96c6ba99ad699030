using System.Runtime.InteropServices;

namespace Avedis.Trainer;

/// <summary>
/// Turns the first Ctrl-C, SIGTERM or SIGHUP (the terminal or the line to it has gone) into a request to stop at the next safe point, a
/// second Ctrl-C or SIGTERM ends the process at once; and SIGUSR1, which schedulers send ahead of time and mpirun passes on, into a request
/// to save what there is and go on. Long commands hold one for as long as they run and end with <see cref="ExitCode"/>. A signal that is
/// ignored, as nohup has it, stays so. SIGQUIT is left alone: it ends a process that does nothing else any more.
/// </summary>
public sealed class Interrupt : IDisposable
{
    private const PosixSignal UserSignal = (PosixSignal)10; // SIGUSR1 has no name in .NET; its number is that of Linux

    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] registrations;
    private volatile bool saveRequested;

    public Interrupt()
    {
        registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Request(context, Trainer.ExitCode.Interrupted)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Request(context, Trainer.ExitCode.Terminated)),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
            {
                // it comes twice where a terminal closes: from the shell and from the system
                context.Cancel = true;
                if (!Requested)
                    Request(Trainer.ExitCode.HungUp);
            }),
            PosixSignalRegistration.Create(UserSignal, context =>
            {
                context.Cancel = true;
                saveRequested = true;
            }),
        ];
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => source.Token;

    public bool Requested => source.IsCancellationRequested;

    /// <summary>129 after SIGHUP, 130 after Ctrl-C, 143 after SIGTERM, 0 without a signal.</summary>
    public int ExitCode { get; private set; }

    /// <summary>Whether a SIGUSR1 came since the last time.</summary>
    public bool TakeSaveRequest()
    {
        bool requested = saveRequested;
        saveRequested = false;
        return requested;
    }

    /// <summary>Asks for a stop as a signal would.</summary>
    public void Request(int exitCode)
    {
        ExitCode = exitCode;
        source.Cancel();
    }

    public void Dispose()
    {
        foreach (var registration in registrations)
            registration.Dispose();
        source.Dispose();
    }

    private void Request(PosixSignalContext context, int exitCode)
    {
        if (Requested)
            Screen.EndLine(); // nothing more is said
        context.Cancel = !Requested;
        Request(exitCode);
    }
}
