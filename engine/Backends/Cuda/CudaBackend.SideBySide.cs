using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    /// <summary>
    /// Queues the second on a stream of its own. It starts behind all that is queued so far, and what is queued later waits for both.
    /// In a recorded step the two are branches of its graph.
    /// </summary>
    public void SideBySide(Action first, Action second)
    {
        Enter();
        if (side is null)
        {
            first();
            second();
            return;
        }
        Follow(side, main);
        lane = side;
        try
        {
            second();
        }
        finally
        {
            lane = main;
        }
        first();
        Follow(main, side);
    }

    /// <summary>What is queued on a lane from now on runs behind all that has been queued on the other.</summary>
    private static void Follow(CudaLane lane, CudaLane other)
    {
        CudaDriver.Check(CudaDriver.EventRecord(other.Reached, other.Stream));
        CudaDriver.Check(CudaDriver.StreamWaitEvent(lane.Stream, other.Reached, 0));
    }
}
