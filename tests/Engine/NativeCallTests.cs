using Avedis.Bindings.Cpu;
using Avedis.Bindings.Faces;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A native call that fails ends in an exception with the call's name and the library's own words.</summary>
public sealed class NativeCallTests
{
    [Test]
    public void Of_the_processor_library() => Assert.That(
        () => CpuNative.Check(CpuNative.SetThreads(0)),
        Throws.TypeOf<CpuCallException>().With.Message.EqualTo("CpuNative.SetThreads: at least one thread is needed").And.Property(nameof(CpuCallException.OutOfMemory)).False);

    [Test]
    public void Of_the_face_detector()
    {
        using var detector = FaceDetectorLibrary.Create();
        Assert.That(
            () => detector.Detect(new FaceBox[1], new byte[16], height: 4, width: 4, upsample: 9),
            Throws.TypeOf<FaceDetectorException>().With.Message.EndsWith("upsample has to be between 1 and 8"));
    }
}
