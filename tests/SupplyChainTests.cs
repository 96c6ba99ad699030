using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What is built is what the lock files say, from one list of versions, under licences that LICENCES.md lists.</summary>
public sealed partial class SupplyChainTests
{
    /// <summary>Licences that may come in without a second thought; another is a decision.</summary>
    private static readonly string[] accepted = ["MIT", "Apache-2.0", "BSD-3-Clause", "MS-PL OR Apache-2.0"];

    private sealed record Package(string Name, string Version, string Licence, string For);

    private static string[] Solution =>
        [.. Directory.GetDirectories(Repository.Root).SelectMany(folder => Directory.GetFiles(folder, "*.csproj")).Order(StringComparer.Ordinal)];

    /// <summary>Outside the solution, since their packages are large: the comparisons with libtorch, which restore them by
    /// themselves.</summary>
    private static string[] Peers =>
    [
        Path.Combine(Repository.Root, "tests", "Peers", "Peers.csproj"),
        Path.Combine(Repository.Root, "bench", "peers", "torchsharp", "TorchSharpPeer.csproj"),
    ];

    private static string[] Projects => [.. Solution, .. Peers];

    private static string Text(string file) => File.ReadAllText(Path.Combine(Repository.Root, file));

    private static Dictionary<string, string> Versions() => XDocument.Parse(Text("Directory.Packages.props")).Descendants("PackageVersion")
        .ToDictionary(package => (string)package.Attribute("Include")!, package => (string)package.Attribute("Version")!);

    /// <summary>Every package that a project brings along; a project itself is none.</summary>
    private static IEnumerable<(string Name, JsonNode Entry)> Locked(string project) =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(Path.GetDirectoryName(project)!, "packages.lock.json")))!["dependencies"]!.AsObject()
            .SelectMany(framework => framework.Value!.AsObject()).Where(entry => (string)entry.Value!["type"]! != "Project").Select(entry => (entry.Key, entry.Value!));

    [Test]
    public void Every_project_is_in_the_solution_and_has_a_lock_file()
    {
        string solution = Text("Engine.sln");
        Assert.That(Solution, Is.Not.Empty);
        foreach (string project in Projects)
        {
            Assert.That(solution.Contains(Path.GetFileName(project), StringComparison.Ordinal), Is.EqualTo(!Peers.Contains(project)),
                project);
            Assert.That(File.Exists(Path.Combine(Path.GetDirectoryName(project)!, "packages.lock.json")), $"lock file of {project}");
        }
    }

    [Test]
    public void Lock_files_are_on_for_all_and_a_restore_keeps_to_them()
    {
        string properties = Text("Directory.Build.props");
        Assert.That(properties, Does.Contain("<RestorePackagesWithLockFile>true<").And.Contain("<ManagePackageVersionsCentrally>true<"));
        foreach (string project in Projects)
            Assert.That(File.ReadAllText(project), Does.Not.Contain("RestorePackagesWithLockFile").And.Not.Contain("ManagePackageVersionsCentrally"), project);
        Assert.That(Text(".ci/setup"), Does.Contain("dotnet restore \"$1\" --locked-mode"));
        Assert.That(Text("bench/Peers.cs"), Does.Contain("\"-t:Restore\", .. locked").And.Contain("-p:RestoreLockedMode=true"));
        Assert.That(Text("tests/peers"), Does.Contain("dotnet restore tests/Peers --locked-mode"));
    }

    [Test]
    public void Versions_come_from_one_list()
    {
        var versions = Versions();
        var used = new HashSet<string>();
        foreach (string project in Projects)
        {
            foreach (var reference in XDocument.Load(project).Descendants("PackageReference"))
            {
                string name = (string)reference.Attribute("Include")!;
                Assert.That(reference.Attributes().Select(a => a.Name.LocalName).Concat(reference.Elements().Select(e => e.Name.LocalName)),
                    Has.None.Contains("Version"), $"{name} in {project}");
                Assert.That(versions, Does.ContainKey(name), project);
                used.Add(name);
            }
            foreach (var (name, entry) in Locked(project))
            {
                Assert.That((string?)entry["contentHash"], Is.Not.Null.And.Not.Empty, $"hash of {name} in the lock file of {project}");
                if ((string)entry["type"]! is "Direct" or "CentralTransitive")
                    Assert.That((string)entry["resolved"]!, Is.EqualTo(versions[name]), $"{name} in the lock file of {project}");
            }
        }
        Assert.That(used, Is.EquivalentTo(versions.Keys), "a version that nobody uses");
    }

    [Test]
    public void Every_package_is_listed_with_the_licence_that_it_names()
    {
        string packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        if (!Directory.Exists(packages))
            Assert.Ignore($"no packages in {packages}: the tests were built elsewhere");
        // who comes first decides: what the program has is not what only the tests have
        string[] order = ["Bindings", "Engine", "Trainer", "Bench", "Tests", "Peers", "TorchSharpPeer"];
        Assert.That(Projects.Select(Path.GetFileNameWithoutExtension), Is.EquivalentTo(order));
        Package[] listed = [.. Rows("NuGet").Select(row => new Package(row[0], row[1], row[2], row[3]))];
        var found = new Dictionary<(string, string), Package>();
        foreach (string project in Projects.OrderBy(path => Array.IndexOf(order, Path.GetFileNameWithoutExtension(path))))
            foreach (var (name, entry) in Locked(project))
            {
                string version = (string)entry["resolved"]!;
                string use = Path.GetFileNameWithoutExtension(project) switch
                {
                    "Bench" => "bench", "Tests" => "test", "Peers" or "TorchSharpPeer" => "peers", _ => "runtime",
                };
                string folder = Path.Combine(packages, name.ToLowerInvariant(), version);
                // of what these alone restore, where they have not run yet, the licence is taken as listed
                string licence = Peers.Contains(project) && !Directory.Exists(folder)
                    ? listed.SingleOrDefault(p => p.Name == name)?.Licence ?? "" : LicenceOf(folder);
                found.TryAdd((name, version), new(name, version, licence, use));
            }
        Assert.That(listed, Is.EquivalentTo(found.Values));
        Assert.That(found.Values.Select(package => package.Licence).Distinct(), Is.SubsetOf(accepted));
    }

    [Test]
    public void Every_Debian_package_is_listed_with_a_licence()
    {
        string[] installed =
        [
            .. PackagesOfSetup().Match(Text(".ci/setup")).Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries),
            .. new[] { ".ci/run", "test", "bench/bundle" }.SelectMany(script =>
                PackagesOfRun().Match(Text(script)).Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
        ];
        var rows = Rows("Debian");
        Assert.That(rows.Select(row => row[0]), Is.EquivalentTo(installed).And.Not.Empty);
        foreach (string[] row in rows)
        {
            Assert.That(row[2], Does.Match(@"^(MIT|[A-Z][A-Za-z]+-\d\S*)( (AND|OR|WITH) \S+)*$"), row[0]);
            Assert.That(row[3], Is.AnyOf("runtime", "build", "test"), row[0]);
        }
    }

    /// <summary>Rows of the table under a heading of LICENCES.md.</summary>
    private static string[][] Rows(string heading) =>
        [.. Text("LICENCES.md").Split($"\n## {heading}\n")[1].Split("\n## ")[0].Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1)
            .Select(line => line.Trim('|', ' ').Split('|', StringSplitOptions.TrimEntries))];

    private static string LicenceOf(string folder)
    {
        var licence = XDocument.Load(Directory.GetFiles(folder, "*.nuspec").Single()).Descendants().SingleOrDefault(element => element.Name.LocalName == "license");
        if ((string?)licence?.Attribute("type") == "expression")
            return licence!.Value;
        // an older package names none, and may bring the text all the same
        string file = Path.Combine(folder, licence?.Value ?? "LICENSE.txt");
        string text = File.Exists(file) ? Blanks().Replace(File.ReadAllText(file), " ") : "";
        bool mit = text.Contains("Permission is hereby granted, free of charge, to any person obtaining a copy", StringComparison.Ordinal)
            && text.Contains("The above copyright notice and this permission notice shall be included in all", StringComparison.Ordinal);
        return mit ? "MIT" : $"unknown: look into {folder}";
    }

    [GeneratedRegex(@"^packages=\((.*) \$\{more_packages-\}\)$", RegexOptions.Multiline)]
    private static partial Regex PackagesOfSetup();

    [GeneratedRegex(@"^more_packages=""?([a-z0-9 +.-]+[a-z0-9])", RegexOptions.Multiline)]
    private static partial Regex PackagesOfRun();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();
}
