namespace Avedis.Tests;

/// <summary>A matrix [rows, columns] on a tape, and the gradient that a backward pass gave it.</summary>
internal sealed class Node(int rows, int columns, double[] values)
{
    public int Rows { get; } = rows;

    public int Columns { get; } = columns;

    public double[] Values { get; } = values;

    public double[] Gradient { get; } = new double[values.Length];

    public double this[int row, int column] => Values[row * Columns + column];
}

/// <summary>
/// Reverse-mode differentiation of small matrices in double precision, for tests to compare the engine with: it shares no line with it. Every operation notes
/// how its gradient goes back; <see cref="Backward"/> walks the notes in reverse.
/// </summary>
internal sealed class Tape
{
    private readonly List<(Node Node, Action Back)> notes = [];

    /// <summary>How near a ReLU came to 0, where its gradient jumps and a rounding decides.</summary>
    public double NearestKink { get; private set; } = double.PositiveInfinity;

    public static Node Constant(int rows, int columns, IEnumerable<float> values) => new(rows, columns, [.. values.Select(v => (double)v)]);

    /// <summary>x [N,I] * w [O,I]^T + b [O].</summary>
    public Node Linear(Node x, Node w, Node b) => Note(x.Rows, w.Rows, (n, o) => b.Values[o] + Enumerable.Range(0, x.Columns).Sum(i => x[n, i] * w[o, i]), (y, n, o) =>
    {
        double dY = y.Gradient[n * w.Rows + o];
        b.Gradient[o] += dY;
        for (int i = 0; i < x.Columns; i++)
        {
            x.Gradient[n * x.Columns + i] += dY * w[o, i];
            w.Gradient[o * w.Columns + i] += dY * x[n, i];
        }
    });

    public Node Relu(Node x)
    {
        NearestKink = Math.Min(NearestKink, x.Values.Min(Math.Abs));
        return Note(x.Rows, x.Columns, (n, c) => Math.Max(x[n, c], 0), (y, n, c) => x.Gradient[n * x.Columns + c] += x[n, c] > 0 ? y.Gradient[n * x.Columns + c] : 0);
    }

    /// <summary>Each column less its mean.</summary>
    public Node Centre(Node x) => Note(x.Rows, x.Columns, (n, c) => x[n, c] - Column(x.Values, x, c).Average(), (y, n, c) =>
        x.Gradient[n * x.Columns + c] += y.Gradient[n * x.Columns + c] - Column(y.Gradient, y, c).Average());

    /// <summary>Mean of the squares of each column, [1,C].</summary>
    public Node MeanSquare(Node x) => Note(1, x.Columns, (_, c) => Column(x.Values, x, c).Average(v => v * v), (y, _, c) =>
    {
        for (int n = 0; n < x.Rows; n++)
            x.Gradient[n * x.Columns + c] += 2 * x[n, c] / x.Rows * y.Gradient[c];
    });

    /// <summary>Each column of x by the root of its v [1,C] and epsilon.</summary>
    public Node DivideByRoot(Node x, Node v, double epsilon) => Note(x.Rows, x.Columns, (n, c) => x[n, c] / Math.Sqrt(v.Values[c] + epsilon), (y, n, c) =>
    {
        double root = Math.Sqrt(v.Values[c] + epsilon), dY = y.Gradient[n * x.Columns + c];
        x.Gradient[n * x.Columns + c] += dY / root;
        v.Gradient[c] -= dY * x[n, c] / (2 * root * root * root);
    });

    public Node LogSoftmax(Node x) => Note(x.Rows, x.Columns, (n, c) => x[n, c] - LogSum(x, n), (y, n, c) =>
    {
        double sum = Enumerable.Range(0, x.Columns).Sum(k => y.Gradient[n * x.Columns + k]);
        x.Gradient[n * x.Columns + c] += y.Gradient[n * x.Columns + c] - Math.Exp(x[n, c] - LogSum(x, n)) * sum;
    });

    /// <summary>Sum of all elements, each times its factor, [1,1].</summary>
    public Node Sum(Node x, Func<int, int, double> factor) => Note(1, 1, (_, _) =>
        Enumerable.Range(0, x.Rows).Sum(n => Enumerable.Range(0, x.Columns).Sum(c => factor(n, c) * x[n, c])), (y, _, _) =>
    {
        for (int n = 0; n < x.Rows; n++)
            for (int c = 0; c < x.Columns; c++)
                x.Gradient[n * x.Columns + c] += factor(n, c) * y.Gradient[0];
    });

    /// <summary>Gradients of the sum of some scalars, each times its factor, in every node; those of an earlier pass are forgotten.</summary>
    public void Backward(IEnumerable<(Node Scalar, double Factor)> terms, IEnumerable<Node> leaves)
    {
        foreach (var node in notes.Select(note => note.Node).Concat(leaves))
            Array.Clear(node.Gradient);
        foreach (var (scalar, factor) in terms)
            scalar.Gradient[0] += factor;
        foreach (var (_, back) in Enumerable.Reverse(notes))
            back();
    }

    private Node Note(int rows, int columns, Func<int, int, double> value, Action<Node, int, int> back)
    {
        var node = new Node(rows, columns, [.. Enumerable.Range(0, rows * columns).Select(i => value(i / columns, i % columns))]);
        notes.Add((node, () =>
        {
            for (int i = 0; i < rows * columns; i++)
                back(node, i / columns, i % columns);
        }));
        return node;
    }

    private static IEnumerable<double> Column(double[] values, Node shape, int column) => Enumerable.Range(0, shape.Rows).Select(n => values[n * shape.Columns + column]);

    private static double LogSum(Node x, int row)
    {
        double largest = Enumerable.Range(0, x.Columns).Max(c => x[row, c]);
        return largest + Math.Log(Enumerable.Range(0, x.Columns).Sum(c => Math.Exp(x[row, c] - largest)));
    }
}
