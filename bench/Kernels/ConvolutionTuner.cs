using System.Globalization;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;

namespace Avedis.Bench.Kernels;

/// <summary>
/// Finds the fastest cut of each convolution pass by trial: every family of kernels and tile that the shape allows, with several numbers of slices. A candidate is checked
/// against double precision and, in every element, against the cut that the plan chooses, before it is timed.
/// </summary>
/// <param name="rounds">Fewest runs of each candidate; the median counts.</param>
internal sealed class ConvolutionTuner(CudaBackend backend, int rounds, TextWriter log) : IDisposable
{
    /// <summary>A cut has to be so much faster than the plan's: less may be chance.</summary>
    private const double WorthIt = 0.98;

    /// <summary>Steps below which a slice costs more in sums than it can gain, and blocks for each multiprocessor beyond which slices gain nothing.</summary>
    private const int FewestSteps = 4, MostBlocks = 8;

    private static readonly int[] sliceCounts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64];

    private readonly KernelClock clock = new(backend);
    private readonly Conv2dTuning empty = new(Conv2dTuning.ArchitectureOf(backend.ComputeCapability), backend.Description, []);

    /// <summary>A row for each pass of a layer that has a cut faster than the plan's.</summary>
    /// <param name="precision">That the backend was opened in.</param>
    /// <exception cref="WrongResultException">The plan's own cut computes something else.</exception>
    public IEnumerable<Conv2dTuningRow> Tune(string layer, Conv2dGeometry geometry, string precision, IEnumerable<Conv2dPass> passes)
    {
        backend.Tuning = empty;
        using var rig = new ConvolutionRig(backend, precision, geometry);
        var plan = backend.Conv2dPlanOf(geometry, rig.Act);
        foreach (var pass in passes)
        {
            var planned = PlannedCut(plan, pass);
            backend.Tuning = empty;
            double error = rig.Check(pass);
            var expected = rig.Tensors.Zeroes("result of the plan's cut", rig.ShapeOf(pass), rig.Result(pass).Type);
            backend.Copy(expected, rig.Result(pass));

            double plannedTime = Time(rig, pass);
            (Conv2dCut Cut, double Microseconds) best = (planned, plannedTime);
            int tried = 0;
            foreach (var cut in Candidates(plan, pass, rig.Act).Where(cut => cut != planned))
            {
                backend.Tuning = empty with { Rows = [new(pass, precision, geometry, cut, 0, 0)] };
                rig.Tensors.RequireWorkspace(backend.Conv2dWorkspace(geometry, rig.Act));
                try
                {
                    ResultCheck.Alike(backend, expected, rig.Result(pass), Math.Max(error, rig.Check(pass)));
                }
                catch (WrongResultException wrong)
                {
                    log.WriteLine($"{precision} {layer} {ConvolutionRig.NameOf(pass)}, {cut}: WRONG: {wrong.Message}");
                    continue;
                }
                tried++;
                double time = Time(rig, pass);
                if (time < best.Microseconds)
                    best = (cut, time);
            }
            // clocks change while the candidates run: the plan's cut counts by its better time
            backend.Tuning = empty;
            plannedTime = Math.Min(plannedTime, Time(rig, pass));
            bool chosen = best.Microseconds < WorthIt * plannedTime;
            log.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{precision} {layer} {ConvolutionRig.NameOf(pass)}: planned {planned} {plannedTime:F1} us; best of {tried + 1}: {best.Cut} {best.Microseconds:F1} us{(chosen ? "" : ", kept")}"));
            if (chosen)
                yield return new(pass, precision, geometry, best.Cut, best.Microseconds, plannedTime);
        }
        backend.Tuning = empty;
    }

    /// <summary>The cuts that are worth a trial.</summary>
    internal IEnumerable<Conv2dCut> Candidates(Conv2dPlan plan, Conv2dPass pass, DType act)
    {
        var gather = pass == Conv2dPass.Forward ? plan.Forward : plan.BackwardData;
        bool weights = pass == Conv2dPass.BackwardWeight;
        foreach (var (hopper, rows, columns) in weights ? plan.WeightFamilies : gather.Families)
        {
            int height = weights ? plan.Weight.Rows : gather.Classes.Max(each => each.Positions), width = weights ? plan.Weight.Columns : gather.Columns;
            long tiles = (long)((height + rows - 1) / rows) * ((width + columns - 1) / columns);
            int steps = weights ? plan.MostWeightSlices(hopper, act) : gather.MostSlices(hopper, act);
            long results = weights ? plan.Geometry.Weight.Count : gather.Results;
            foreach (int slices in sliceCounts)
                if (slices == 1 || slices * FewestSteps <= steps && tiles * slices <= MostBlocks * backend.Multiprocessors && Conv2dPlan.SumsFit(slices, results))
                    yield return new(hopper, rows, columns, slices);
        }
    }

    /// <summary>Writes the table of this architecture; rows of other convolutions that an earlier run on this device left there stay.</summary>
    /// <param name="tuned">What was tried; <paramref name="rows"/> may name fewer.</param>
    /// <returns>The file.</returns>
    /// <exception cref="UserException">The folder holds another device's table, or cannot be written.</exception>
    public string Write(string folder, IReadOnlyCollection<(Conv2dPass, string, Conv2dGeometry)> tuned, IEnumerable<Conv2dTuningRow> rows)
    {
        string path = Path.Combine(folder, Conv2dTuning.FileName(empty.Architecture));
        try
        {
            Directory.CreateDirectory(folder);
            var old = File.Exists(path) ? Conv2dTuning.Parse(File.ReadAllText(path)) : empty;
            if (old.Device is not null && old.Device != empty.Device)
                throw new UserException(ExitCode.Usage, $"{path} was measured on another device ({old.Device}): choose another folder with --out");
            var kept = old.Rows.Where(row => !tuned.Contains((row.Pass, row.Precision, row.Geometry)));
            File.WriteAllText(path, (empty with { Rows = [.. kept, .. rows] }).ToJson());
            return path;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"{path} cannot be read or written: {failure.Message}", failure);
        }
    }

    public void Dispose() => clock.Dispose();

    private static Conv2dCut PlannedCut(Conv2dPlan plan, Conv2dPass pass) => pass switch
    {
        Conv2dPass.Forward => plan.Forward.Cut,
        Conv2dPass.BackwardData => plan.BackwardData.Cut,
        _ => plan.WeightCut,
    };

    private double Time(ConvolutionRig rig, Conv2dPass pass) => clock.Median([() => rig.Run(pass)], rounds)[0];
}
