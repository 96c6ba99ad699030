using System.Text.Json.Nodes;
using Avedis.Trainer.Ranks;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

public sealed class HandshakeTests
{
    private static Handshake Card(string build = "0.1", string data = "ab", string precision = "fp32", string settings = """{ "training": { "epochs": 2, "threads": 1, "device": "cpu" } }""") =>
        new(build, data, precision, JsonNode.Parse(settings)!.AsObject());

    [Test]
    public void Ranks_that_are_alike_pass() => Assert.That(Handshake.Difference(Card(), Card()), Is.Null);

    [Test]
    public void Where_a_rank_computes_is_its_own_affair() =>
        Assert.That(Handshake.Difference(Card(), Card(settings: """{ "training": { "epochs": 2, "threads": 7, "device": "cuda" } }""")), Is.Null);

    [Test]
    public void What_differs_is_named_with_both_values() => Assert.Multiple(() =>
    {
        Assert.That(Handshake.Difference(Card(), Card(build: "0.2")), Is.EqualTo("build than rank 0: 0.2, not 0.1"));
        Assert.That(Handshake.Difference(Card(), Card(data: "cd")), Is.EqualTo("data set than rank 0: cd, not ab"));
        Assert.That(Handshake.Difference(Card(), Card(precision: "bf16")), Is.EqualTo("precision than rank 0: bf16, not fp32"));
        Assert.That(Handshake.Difference(Card(), Card(settings: """{ "training": { "epochs": 3, "threads": 1, "device": "cpu" } }""")), Is.EqualTo("setting training.epochs than rank 0: 3, not 2"));
        Assert.That(Handshake.Difference(Card(), Card(settings: """{ "training": { "threads": 1, "device": "cpu" } }""")), Is.EqualTo("setting training.epochs than rank 0: absent, not 2"));
    });
}
