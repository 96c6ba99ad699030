using System.ComponentModel;
using System.Runtime.InteropServices;
using Avedis.Bench;
using Avedis.Bench.Peers.TorchSharp;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A library that asks for a version of another which the installed one lacks, as TorchSharp's asks on Debian 12.</summary>
public sealed class WeakVersionTests
{
    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = Directory.CreateTempSubdirectory("avedis-versions").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(folder, recursive: true);

    [Test]
    public void What_only_names_the_missing_version_loads_once_it_is_marked_and_still_works()
    {
        string library = Library("int uses_old(void) { return old() + 1; }");
        Assert.Throws<DllNotFoundException>(() => NativeLibrary.Load(library));

        byte[] bytes = File.ReadAllBytes(library);
        Assert.That(WeakVersion.Mark(bytes, "BASE_2", "recent"), Is.True);
        Assert.That(WeakVersion.Mark(bytes, "BASE_2", "recent"), Is.False, "marked already");
        Assert.That(WeakVersion.Mark(bytes, "BASE_3", "recent"), Is.False, "asks for no such version");
        // under a name of its own: the loader remembers the other
        string marked = Path.Combine(folder, "libmarked.so");
        File.WriteAllBytes(marked, bytes);
        nint handle = NativeLibrary.Load(marked);
        Assert.That(Marshal.GetDelegateForFunctionPointer<UsesOld>(NativeLibrary.GetExport(handle, "uses_old"))(), Is.EqualTo(2));
        NativeLibrary.Free(handle);
    }

    [Test]
    public void What_uses_the_missing_version_is_refused_and_left_alone()
    {
        byte[] uses = File.ReadAllBytes(Library("int uses_recent(void) { return recent(); }")), before = [.. uses];
        Assert.That(
            Assert.Throws<InvalidDataException>(() => WeakVersion.Mark(uses, "BASE_2", "recent"))!.Message,
                Is.EqualTo("it refers to recent of BASE_2"));
        Assert.That(
            Assert.Throws<InvalidDataException>(() => WeakVersion.Mark(uses, "BASE_2", "another"))!.Message,
                Is.EqualTo("it needs recent of BASE_2"));
        Assert.That(uses, Is.EqualTo(before));
        Assert.Throws<InvalidDataException>(() => WeakVersion.Mark("#!/bin/sh"u8.ToArray(), "BASE_2", "recent"));
    }

    private delegate int UsesOld();

    // built against a base with two versions, beside one that has the first alone
    private string Library(string code)
    {
        const string Old = "int old(void) { return 1; }", Recent = "int recent(void) { return 2; }",
            OldVersion = "BASE_1 { global: old; local: *; };";
        string file = Path.Combine(folder, "libuser.so");
        Compile(Path.Combine(folder, "libbase.so"), Old + Recent, Script("two", $"{OldVersion} BASE_2 {{ global: recent; }} BASE_1;"),
            "-Wl,-soname,libbase.so");
        Compile(file, "int old(void); int recent(void);" + code, "-Wl,-u,recent", $"-L{folder}", "-Wl,-rpath,$ORIGIN",
            "-Wl,--no-as-needed", "-lbase");
        Compile(Path.Combine(folder, "libbase.so"), Old, Script("one", OldVersion), "-Wl,-soname,libbase.so");
        return file;
    }

    private string Script(string name, string text)
    {
        string file = Path.Combine(folder, name);
        File.WriteAllText(file, text);
        return $"-Wl,--version-script={file}";
    }

    private void Compile(string output, string code, params string[] options)
    {
        string source = Path.Combine(folder, "source.c");
        File.WriteAllText(source, code);
        try
        {
            var (exit, _, errors) = Tool.Run("gcc", ["-shared", "-fPIC", "-o", output, source, .. options]);
            Assert.That(exit, Is.Zero, errors);
        }
        catch (Win32Exception)
        {
            Assert.Ignore("there is no gcc to build libraries with");
        }
    }
}
