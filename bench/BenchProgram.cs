namespace Avedis.Bench;

internal static class BenchProgram
{
    private static int Main(string[] args) => Commands.Run(args, Console.Out, Console.Error);
}
