return Avedis.Bench.Commands.Run(args, Console.Out, Console.Error);
