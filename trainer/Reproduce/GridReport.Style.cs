namespace Avedis.Trainer.Reproduce;

public sealed partial class GridReport
{
    // Methods differ in hue and in lightness, so that those who cannot tell red from green can tell them apart; paper stays light whatever the screen is
    private const string Style = """
        :root{color-scheme:light dark;--bg:#fdfdfc;--ink:#1b1f24;--muted:#5c6670;--line:#d8dce0;--soft:#f1f3f4;
          --baseline:#434b55;--alt:#d2610f;--gr:#1769b5;--conf:#0b9472;--projected:#4a1f78;--leace:#7a3812;--other:#8a6d1b;--heat:#0d4a8b;--notice:#8a5a00;
          --e0:#8d97a1;--e1:#c2455c;--e2:#3b57b8;--e3:#b98a00;--e4:#1d8a4a;--e5:#7d3fa0;--e6:#1a97b5;--e7:#8b4a20}
        @media screen and (prefers-color-scheme:dark){:root{--bg:#14171a;--ink:#e7eaed;--muted:#9ca6b0;--line:#343a41;--soft:#1e2328;
          --baseline:#d5dae0;--alt:#f2894a;--gr:#5fa9ee;--conf:#3cc79d;--projected:#8e5cf0;--leace:#a8662f;--other:#d3b45c;--heat:#5fa9ee;--notice:#f0c060;
          --e0:#8b96a1;--e1:#ff7d90;--e2:#8aa4ff;--e3:#f0c030;--e4:#5fd08a;--e5:#cf93ee;--e6:#5fd0ea;--e7:#d59a6c}}
        .m-baseline{--c:var(--baseline)}.m-alt{--c:var(--alt)}.m-gr{--c:var(--gr)}.m-conf{--c:var(--conf)}.m-projected{--c:var(--projected)}.m-leace{--c:var(--leace)}.m-stl{--c:var(--muted)}.m-other{--c:var(--other)}
        *{box-sizing:border-box}
        html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
        body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:76rem;
          color:var(--ink);background:var(--bg);overflow-wrap:break-word}
        header{border-bottom:1px solid var(--line);padding-bottom:1.25rem}
        .eyebrow{margin:0;font-size:.8rem;letter-spacing:.06em;text-transform:uppercase;color:var(--muted)}
        h1{font-size:clamp(1.6rem,1.2rem + 2vw,2.4rem);line-height:1.15;letter-spacing:-.015em;margin:.3rem 0 1rem;max-width:24em;text-wrap:balance}
        h1 span{color:var(--muted);font-weight:400}
        .lead{font-size:1.08rem;max-width:46em;margin:1rem 0 1.5rem}
        .notice{border-left:4px solid var(--notice);background:var(--soft);padding:.6rem .9rem;margin:1rem 0;max-width:50em}
        h1,.lead,.facts dd,.warnings{overflow-wrap:anywhere}
        .facts{display:flex;flex-wrap:wrap;gap:.75rem 2.25rem;margin:0 0 1.25rem}
        .facts dt{font-size:.75rem;color:var(--muted)}.facts dd{margin:0;font-variant-numeric:tabular-nums}
        nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.9rem}
        a{color:var(--gr);text-underline-offset:.2em}nav a{padding:.2rem 0}
        section{margin:3.25rem 0 0}
        h2{font-size:1.35rem;line-height:1.25;margin:0 0 .5rem;letter-spacing:-.01em}
        h2 span{display:block;font-size:.8rem;font-weight:600;color:var(--muted);letter-spacing:.02em}
        h3{font-size:.95rem;margin:1.25rem 0 .35rem}
        .about{max-width:50em;margin:0 0 1rem;color:var(--muted)}.about b{color:var(--ink);font-weight:600}
        .muted,small{color:var(--muted)}
        .scroll{overflow-x:auto;margin:.75rem 0;border-bottom:1px solid var(--line)}
        .scroll:focus-visible{outline:2px solid var(--gr);outline-offset:2px}
        table{border-collapse:separate;border-spacing:0;font-size:.88rem;line-height:1.3;font-variant-numeric:tabular-nums;min-width:50%}
        th,td{padding:.4rem .7rem;border-top:1px solid var(--line);text-align:right;vertical-align:top;white-space:nowrap}
        th{font-weight:500}thead th{border-top:0;vertical-align:bottom;font-size:.82rem;white-space:normal}thead tr+tr th{border-top:1px solid var(--line)}
        th:first-child{text-align:left;position:sticky;left:0;background:var(--bg);padding-left:.1rem;z-index:1}thead tr+tr th:first-child{position:static;text-align:right}
        thead th[colspan]{text-align:left}
        .left{text-align:left}thead tr+tr th.left,td.left{text-align:left}.wrap{white-space:normal;overflow-wrap:anywhere;min-width:14rem}
        td small,tbody th small{display:block;font-size:.74rem;font-weight:400}td b{font-weight:700}
        .line small{display:inline-block;min-width:11.5em;margin-left:.3em}.again th,.again td{border-top-color:transparent}
        td.muted,th.muted{font-weight:400}.first{border-left:1px solid var(--line)}
        .dense th,.dense td{padding-left:.45rem;padding-right:.45rem}
        .group th{padding-top:1.1rem;font-weight:600;font-size:.82rem;position:static}.group th span{position:sticky;left:.1rem}
        tbody:first-of-type .group th{padding-top:.5rem}
        tfoot th,tfoot td{font-weight:600}
        code{font:.82rem/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
        td code{display:inline-block;max-width:16rem;white-space:normal;overflow-wrap:break-word}
        .warnings{padding-left:1.1rem;max-width:60em;font-size:.9rem}.warnings li{margin:.25rem 0}
        figure{margin:.5rem 0 0}
        figcaption{font-size:.9rem;color:var(--muted);max-width:50em;margin-top:.75rem}figcaption b{color:var(--ink);font-weight:600}
        .legend{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;font-size:.85rem;margin:.25rem 0 .75rem;padding:0;list-style:none}
        .legend li{overflow-wrap:anywhere}.panel{min-width:0}.panel h3{overflow-wrap:anywhere}
        .bars{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1.25rem 1.25rem}.bars .panel{max-width:30rem}
        .small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(14.5rem,100%),1fr));gap:1.25rem 1.5rem}.small .panel{max-width:22rem}
        .panel h3{display:flex;justify-content:space-between;gap:.5rem;margin:0 0 .25rem;font-weight:600;font-size:.88rem}.panel h3 small{font-weight:400;font-size:.8rem}
        .beside{display:grid;grid-template-columns:minmax(0,36rem) minmax(14rem,1fr);gap:1rem 2.5rem;align-items:start}
        .beside .legend{display:block}.beside .legend li{margin:.15rem 0}.beside figcaption{margin-top:0}
        svg{display:block;width:100%;height:auto;overflow:visible}svg.defs{position:absolute;width:0;height:0}
        svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
        svg text.t{font-size:10.5px;fill:var(--muted)}svg text.v{font-size:10.5px}svg text.halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
        svg.key{display:inline-block;width:1.15em;height:.8em;vertical-align:-.05em;margin-right:.4em}thead svg.key{display:block;margin:0 0 .3em auto}thead th.left svg.key{margin-left:0}svg.time{width:12.5rem;height:.65rem;margin-top:.25rem}
        .grid{stroke:var(--line)}.axis{stroke:var(--muted)}
        .solid{fill:var(--c);stroke:var(--c)}.pale{opacity:.4;stroke:none}.hatch{stroke:var(--c);stroke-width:1.2}.open{fill:var(--bg);stroke:var(--c);stroke-width:1.8}
        .whisker{stroke:var(--ink);stroke-width:1.3;fill:none}.under{stroke:var(--bg);stroke-width:3.6;fill:none}
        .chance{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:1.5 3}.single{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:7 4}
        .claim{fill:var(--bg);stroke:var(--ink);stroke-width:1.4}.gap{stroke:var(--ink);stroke-width:1;stroke-dasharray:1 2}.balanced{fill:var(--ink);stroke:var(--bg);stroke-width:1}
        .star{fill:var(--ink)}.star.some{fill:var(--bg);stroke:var(--ink)}
        .front{fill:none;stroke:var(--muted);stroke-width:1.2;stroke-dasharray:4 3}.seed{fill:var(--c);opacity:.28}
        .trail{fill:none;stroke:var(--c);stroke-width:1.2;stroke-linejoin:round;opacity:.6}.ring{fill:var(--bg);stroke:var(--ink);stroke-width:1.5}
        .cell{fill:var(--heat)}.diagonal{fill:none;stroke:var(--ink);stroke-width:1.2}svg text.on{fill:var(--bg)}
        .emotion{fill:none;stroke:var(--c);stroke-width:1.6;stroke-linejoin:round}.speaker{fill:none;stroke:var(--c);stroke-width:1.3;stroke-dasharray:4 2.5;opacity:.75}
        .frame{fill:none;stroke:var(--line)}.dots{fill-opacity:.75;stroke:var(--bg);stroke-width:.5}.strokes{fill:none;stroke-width:1.5}
        @media (max-width:46rem){body{padding:1.5rem 1rem 3rem}.beside{grid-template-columns:minmax(0,1fr)}.lead{font-size:1rem}section{margin-top:2.5rem}
          .beside .legend{display:flex}th,td{padding:.4rem .55rem}.small{grid-template-columns:repeat(auto-fill,minmax(min(10rem,100%),1fr));gap:1rem}
          .small svg text.t,.small svg text.v{font-size:13.5px}}
        @media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:10pt}nav{display:none}section{margin-top:8mm}h2,h3,.about,.legend{break-after:avoid;break-inside:avoid}
          .scroll{overflow:visible;border:0}table{font-size:7.5pt}th,td{padding:.25em .45em}th:first-child,.group th span{position:static}td small,tbody th small{font-size:6.5pt}.line small{min-width:0}td code{font-size:7pt;max-width:6.5rem}tfoot{display:table-row-group}.panel h3{font-size:8.5pt}
          .panel,tr,figure.whole{break-inside:avoid}.bars{grid-template-columns:repeat(3,1fr)}.small{grid-template-columns:repeat(4,1fr);gap:4mm}
          *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}

        """;
}
