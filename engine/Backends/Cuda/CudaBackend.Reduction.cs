using Avedis.Bindings;
using Avedis.Bindings.Cuda;
using Avedis.Bindings.Nccl;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private float[] reduced = []; // what passes through the host to other ranks
    private CudaReductions? reductions;
    private Nccl? summing; // whose sums are queued and nobody has waited for

    public bool HostMemory => false;

    public void AllReduce(Tensor x, ICollective collective)
    {
        Enter();
        if (collective is Nccl nccl)
        {
            reductions ??= new(main.Stream);
            summing = nccl;
            try
            {
                reductions.Queue(on => nccl.AllReduce(x.Address, x.Count, x.Name, context.Uuid, on));
            }
            catch (NcclException failure)
            {
                throw new DeviceFailedException(failure.Message, failure);
            }
            return;
        }
        if (reduced.Length < x.Count)
            reduced = GC.AllocateUninitializedArray<float>(checked((int)x.Count), pinned: true);
        var values = reduced.AsSpan(0, (int)x.Count);
        Download(values, x);
        collective.AllReduce(values, x.Name);
        Upload<float>(x, values);
    }

    public void AwaitReductions()
    {
        Enter();
        reductions?.Await();
    }

    /// <summary>Waits for all queued work: for sums of all ranks as in one of their calls, which ends if a rank is lost.</summary>
    private void Wait()
    {
        var awaited = summing;
        summing = null;
        if (awaited is null)
            CudaDriver.Check(CudaDriver.StreamSynchronize(main.Stream));
        else
            awaited.Await(() => CudaDriver.Check(CudaDriver.StreamSynchronize(main.Stream)));
    }

    /// <summary>A stream beside the computing one, so that gradients travel while the backward pass goes on. Recorded with the step: the two fork and join in its graph.</summary>
    private sealed class CudaReductions(CudaStream computing) : IDisposable
    {
        private readonly CudaStream travelling = CudaStream.Create();
        private readonly CudaEvent written = CudaEvent.Create(timing: false), summed = CudaEvent.Create(timing: false);
        private bool pending;

        /// <param name="sum">Queues on the stream that it is given.</param>
        public void Queue(Action<nint> sum)
        {
            CudaDriver.Check(CudaDriver.EventRecord(written, computing));
            CudaDriver.Check(CudaDriver.StreamWaitEvent(travelling, written, 0));
            sum(travelling.DangerousGetHandle());
            CudaDriver.Check(CudaDriver.EventRecord(summed, travelling));
            pending = true;
        }

        public void Await()
        {
            if (pending)
                CudaDriver.Check(CudaDriver.StreamWaitEvent(computing, summed, 0));
            pending = false;
        }

        public void Dispose()
        {
            travelling.Dispose();
            written.Dispose();
            summed.Dispose();
        }
    }
}
