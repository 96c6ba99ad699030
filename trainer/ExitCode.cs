namespace Avedis.Trainer;

/// <summary>Exit codes of the program, as the README lists them.</summary>
public static class ExitCode
{
    public const int Ok = 0;
    public const int InternalError = 1;
    public const int Usage = 2;
    public const int BadInput = 3;
    public const int BadCheckpoint = 4;
    public const int DeviceUnavailable = 5;
    public const int OutOfMemory = 6;
    public const int Diverged = 7;
    public const int DiskOrIo = 8;
    public const int DeviceFailed = 9;
    public const int RanksLost = 10;
    public const int HungUp = 129;
    public const int Interrupted = 130;
    public const int Terminated = 143;

    /// <summary>Whether it is that of a command which was asked to stop, and did so in good order.</summary>
    public static bool IsStop(int code) => code is HungUp or Interrupted or Terminated;
}

/// <summary>
/// A failure that the user can act on. The message is one line: what, where, what to do. Program.Main prints it behind "avedis: " and exits
/// with <see cref="Code"/>; no stack trace.
/// </summary>
public sealed class UserException(int code, string message, Exception? inner = null) : Exception(message, inner)
{
    public int Code { get; } = code;
}
