using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Bindings.Faces;

/// <summary>libavedis_faces.so is missing, or a call into it failed. One line.</summary>
public sealed class FaceDetectorException(string message, bool missing = false) : Exception(message)
{
    /// <summary>Whether the library was not there at all.</summary>
    public bool Missing { get; } = missing;
}

/// <summary>
/// avedis_face_box: a face from brows to chin, in pixels of the picture, which it may reach beyond. Score is the distance from the detector's threshold.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct FaceBox(float X, float Y, float Width, float Height, float Score);

/// <summary>The functions of libavedis_faces.so; bindings/native/avedis_faces.h says what each does. One object serves one thread at a time.</summary>
public sealed unsafe partial class FaceDetectorLibrary : SafeHandle
{
    internal const string Library = "avedis_faces";
    private const string FileName = "libavedis_faces.so";

    static FaceDetectorLibrary() => NativeLibraries.Register();

    /// <summary>Only for the marshaller; call <see cref="Create"/>.</summary>
    public FaceDetectorLibrary()
        : base(0, ownsHandle: true)
    {
    }

    /// <summary>Version of the dlib that the library was built with, such as 19.24.0.</summary>
    public static string DlibVersion => Marshal.PtrToStringUTF8(DlibVersionText())!;

    public override bool IsInvalid => handle == 0;

    /// <exception cref="FaceDetectorException"/>
    public static FaceDetectorLibrary Create()
    {
        Check(CreateDetector(out var detector));
        return detector;
    }

    /// <summary>
    /// Finds the faces in a grey picture [height, width], best first, into <paramref name="boxes"/> and returns how many there are. The smallest have
    /// 80 / <paramref name="upsample"/> pixels.
    /// </summary>
    /// <exception cref="FaceDetectorException"/>
    public int Detect(Span<FaceBox> boxes, ReadOnlySpan<byte> grey, int height, int width, float upsample)
    {
        if ((long)height * width > grey.Length)
            throw new ArgumentException($"a picture of {width}x{height} takes more than {grey.Length} bytes");
        fixed (FaceBox* found = boxes)
        fixed (byte* pixels = grey)
        {
            Check(Detect(this, found, out int count, pixels, height, width, width, upsample, boxes.Length));
            return count;
        }
    }

    /// <exception cref="FaceDetectorException"/>
    internal static nint Load() =>
        NativeLibraries.Open(FileName, out string tried) is var library and not 0 ? library : throw new FaceDetectorException(tried, missing: true);

    protected override bool ReleaseHandle()
    {
        DestroyDetector(handle);
        return true;
    }

    private static void Check(int status, [CallerArgumentExpression(nameof(status))] string call = "")
    {
        if (status != 0)
            throw new FaceDetectorException($"{call.Split('(')[0]}: {Marshal.PtrToStringUTF8(LastError())}");
    }

    [LibraryImport(Library, EntryPoint = "avedis_faces_last_error")]
    private static partial nint LastError();

    [LibraryImport(Library, EntryPoint = "avedis_faces_dlib_version")]
    private static partial nint DlibVersionText();

    [LibraryImport(Library, EntryPoint = "avedis_face_detector_create")]
    private static partial int CreateDetector(out FaceDetectorLibrary detector);

    [LibraryImport(Library, EntryPoint = "avedis_face_detector_destroy")]
    private static partial void DestroyDetector(nint detector);

    [LibraryImport(Library, EntryPoint = "avedis_face_detector_detect")]
    private static partial int Detect(
        FaceDetectorLibrary detector, FaceBox* boxes, out int count, byte* grey, int height, int width, long stride, float upsample, int capacity);
}
