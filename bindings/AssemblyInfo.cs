using System.Runtime.CompilerServices;

[assembly: DisableRuntimeMarshalling]
[assembly: InternalsVisibleTo("Avedis.Engine")]
[assembly: InternalsVisibleTo("Avedis.Tests")]
