"""What people see: one function draws each result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from liteback.errors import Problem
from liteback.words import counted

if TYPE_CHECKING:
    from liteback.calibration.calibrate import Calibration
    from liteback.cli.group import Outcome
    from liteback.cli.terminal import Terminal
    from liteback.comparison.agreement import Agreement
    from liteback.comparison.result import Comparison, Mode, Row
    from liteback.deployment import Deployed
    from liteback.doctor import Check
    from liteback.export.patch import Patched
    from liteback.inspection import Inspection
    from liteback.ir import Tensor
    from liteback.proof import Proof
    from liteback.roundtrip import Trip
    from liteback_deploy.facts import Facts

DRIFT = Text("~~", "yellow")  # as wide as `verdict`
UNDECIDED = Text("??", "yellow")
WROTE = Text("wrote", "green")
SHOWN = 12  # rows of a comparison; --json and the report have them all


def table(*columns: str, title: str | Text = "", header: bool = True) -> Table:
    """A plain table; columns that begin with > are numbers."""
    result = Table(
        title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold", show_header=header
    )
    for column in columns:
        numeric = column.startswith(">")
        result.add_column(column.lstrip(">"), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return result


def verdict(good: bool) -> Text:
    return Text("ok", "green") if good else Text("!!", "bold red")


def _told(good: bool, sentence: str) -> Text:
    return Text.assemble(verdict(good), f" {sentence}")


def inspection(console: Terminal, name: str, found: Inspection, nodes: bool) -> None:
    model, main = found.model, found.model.main
    console.say(Text(name, "bold"), f" sha256 {model.sha256[:16]}  {model.size:,} bytes  {model.description}")
    facts = table("", "", header=False)
    facts.add_row("quantization", found.quantization)
    facts.add_row("operators", ", ".join(f"{n} {op}" for op, n in found.ops.items()) or "none")
    if len(model.graphs) > 1:
        facts.add_row("subgraphs", f"{len(model.graphs)}")
    for what, indices in (("input", main.inputs), ("output", main.outputs)):
        for t in indices:
            facts.add_row(what, _describe(main.tensors[t]))
    several = any(s.graph != main.index for s in model.signatures)  # and a board records one graph
    for s in model.signatures:
        measured = "; the main graph, which `capture` measures" if several and s.graph == main.index else ""
        facts.add_row("signature", f"{s.key}: {', '.join(s.inputs)} -> {', '.join(s.outputs)}{measured}")
    if several and all(s.graph != main.index for s in model.signatures):
        facts.add_row("main graph", "is no signature's; `capture` measures it")
    free = "; more, where free extents (-1), here 1, are larger" if found.free_extents else ""
    facts.add_row(
        "memory",
        f"{found.constant_bytes:,} bytes of constants; a capture of every layer takes {found.capture_bytes:,} bytes "
        f"a sample{free}",
    )
    if not found.unsupported:
        facts.add_row(Text("reconstructs", "green"), f"in {', '.join(found.numerics)}")
        for problem in found.inexact[:SHOWN]:
            facts.add_row("not exact", str(problem))
    for key, problems in found.refused.items():
        facts.add_row(f"not {key}", str(problems[0]))
    console.draw(facts)
    if nodes:
        _nodes(console, found)
    if not found.unsupported:
        return
    rows = table("operator", "at", "reason", title=Text.assemble(("does not reconstruct", "bold red"), "; in the way:"))
    for problem in found.unsupported:
        rows.add_row(problem.op, problem.tensor, problem.reason)
    console.draw(rows)


def _nodes(console: Terminal, found: Inspection) -> None:
    for graph in found.model.graphs:
        rows = table("node", "reads", "gives", "type", "shape", ">bytes", "quantization", "fused")
        rows.columns[0].no_wrap = True
        for node in graph.nodes:
            for t in node.outputs:
                tensor = graph.tensors[t]
                reads = " ".join(f"#{i}" for i in node.inputs if i >= 0)
                size, fused = f"{tensor.nbytes:,}", "" if node.activation == "NONE" else node.activation
                if console.width >= 100:
                    rows.add_row(node.name, reads, f"#{t}", tensor.dtype, _shape(tensor), size, _grid(tensor), fused)
                    continue
                # Eight columns have no room: two lines.
                console.say(Text(node.name, "bold"), f" {reads} -> #{t}  {fused}".rstrip())
                console.say(
                    f"    {tensor.dtype} {_shape(tensor)}  {counted(tensor.nbytes, 'byte')}  {_grid(tensor)}".rstrip()
                )
        if rows.row_count:
            console.draw(rows)


def _describe(tensor: Tensor) -> str:
    return f"{tensor.name or '(no name)'}  {tensor.dtype} {_shape(tensor)}  {_grid(tensor)}".rstrip()


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape_signature)) or "scalar"


def _grid(tensor: Tensor) -> str:
    q = tensor.quantization
    if q is None:
        return ""
    if q.per_channel:
        return f"{q.scale.size} scales along axis {q.axis}"
    return f"scale {q.scale[0]:.6g} zero_point {q.zero_point[0]}"


def recording(console: Terminal, document: dict[str, Any]) -> None:
    certificate = document["certificate"]
    recorded = "recorded already, nothing was run:" if document["recorded_before"] else "recorded"
    console.say(
        f"{recorded} {counted(document['tensors'], 'tensor')} × {counted(document['samples'], 'sample')} in "
        f"{counted(document['passes'], 'pass', 'passes')}, "
        f"{document['bytes']:,} bytes, {document['runtime']} {document['kernels']} kernels on {document['machine']} "
        f"-> {document['recording']}",
    )
    console.say(f"inputs: {document['inputs']}")
    console.say(certificate_line(certificate))
    for left_out in document["untappable"]:
        console.say(f"not tapped: {left_out['tensor']}: {left_out['reason']}")


def certificate_line(certificate: dict[str, Any]) -> Text:
    return _told(
        certificate["good"],
        "certificate: the tapped runs' outputs have the untouched model's bits on "
        f"{counted(certificate['samples'], 'sample')}: {_yes(certificate['outputs_equal'])}; repeated runs agree: "
        f"{_yes(certificate['deterministic'] and certificate['shared_equal'])}",
    )


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def reconstructed(console: Terminal, document: dict[str, Any]) -> None:
    """document: as `reconstruct --json` has it."""
    output, own = document["output"], len(document["own_layers"])
    needs = f"{counted(own, 'layer needs', 'layers need')} liteback.load_model"
    stock = "stock Keras" if not own else needs if Path(output).suffix else "loads with plain TensorFlow"
    console.say(
        WROTE,
        f"{output}: {counted(document['nodes'], 'operator')}, {counted(document['layers'], 'layer')}, "
        f"{counted(document['parameters'], 'parameter')}, numerics {document['numerics']}, {stock}, "
        f"{document['seconds']} s",
    )
    for key, names in document["signatures"].items():
        console.say(f"serves {key}: {', '.join(names['inputs'])} -> {', '.join(names['outputs'])}")
    for key, problems in document["refused"].items():
        console.say(f"leaves out {key}: {Problem(**problems[0])}")


def comparison(console: Terminal, result: Comparison, whole: str = "--json, --html") -> None:
    """whole: where all rows are."""
    ranked = result.worst_first()
    differ = [_share(row.value("isolated", "lsb_differ")) for row in ranked[:SHOWN]]
    wide = console.width >= 80  # else without the operators: a layer's name says what it is
    operator = ["operator"] * wide
    isolated, cumulative = (f">{mode}{_units(ranked[:SHOWN])}" for mode in ("isolated", "cumulative"))
    rows = table("", "layer", *operator, isolated, *[">differ"] * any(differ), cumulative, ">SQNR dB")
    rows.columns[0].no_wrap, rows.columns[1].no_wrap = True, wide
    if wide:
        rows.columns[2].overflow = "ellipsis"
    for row, share in zip(ranked, differ, strict=False):
        rows.add_row(
            UNDECIDED if row.undecided else DRIFT if row.drift else verdict(row.agrees),
            row.layer,
            *[row.op] * wide,
            _error(row, "isolated"),
            *[share] * any(differ),
            _error(row, "cumulative"),
            _number(row.value("cumulative", "sqnr_db")),
        )
    console.draw(rows)
    if (more := len(ranked) - SHOWN) > 0:
        console.say(f"... and {counted(more, 'more layer')}, none worse ({whole}: all of them)")
    console.say(
        verdict(result.passed) if result.passed or result.faulty else UNDECIDED if result.undecided else DRIFT,
        f"{result}",
    )
    if result.undecided:
        console.say(UNDECIDED, f"{result.undecided}")
    if result.constant:
        console.say(verdict(False), result.constant)
    if all(row.isolated is None for row in result.rows):
        console.say(
            f"{result.candidate} shows its outputs alone: {counted(len(result.missing), 'layer is', 'layers are')} not "
            "compared, and none by itself; the .keras file that `reconstruct` writes shows them all"
        )


def _units(rows: Sequence[Row]) -> str:
    """What a column's header says of its numbers: codes say it themselves, shares of a range have no room for it."""
    coded = {any(row.value(mode, "lsb_max") is not None for mode in ("isolated", "cumulative")) for row in rows}
    return "\nLSB, range" if len(coded) > 1 else "\nof range" if coded == {False} else ""


def _error(row: Row, mode: Mode) -> str:
    """The largest error: in codes, or as a share of the tensor's range."""
    metrics = row.metrics(mode)
    if metrics is None:
        return ""
    if metrics.lsb_max is not None:
        return f"{metrics.lsb_max:g} LSB"
    if metrics.reference_all_zero:
        return "board is\nall zero"
    return f"{metrics.max_abs_over_range:.1e}" if metrics.max_abs_over_range else "0"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def calibration(console: Terminal, result: Calibration, output: Path) -> None:
    """The kernel set, the twin's proof, what is not matched, and the corrections."""
    found = result.kernel_set
    kinds: dict[str, list[Any]] = {}
    for fit in found.fits:
        kinds.setdefault(fit.kind, []).append(fit)
    rows = table("", "operator", ">nodes", "computed as", ">telling elements")
    for kind, fits in kinds.items():
        exact = [v for v in fits[0].differing if all(v in f.exact for f in fits)]
        variant = found.profile.variant(kind, -1) or next(iter(fits[0].differing), "")
        words = variant if variant in exact else "not by one variant" if all(f.exact for f in fits) else "unmatched"
        open_ = "" if len(exact) < 2 else f" (undetermined: {', '.join(exact)})"
        rows.add_row(verdict(all(f.exact for f in fits)), kind, f"{len(fits)}", words + open_, _telling(fits))
    if kinds:
        console.draw(rows)
    for fit in found.unmatched:
        bins = ", ".join(f"{q} LSB: {n:,}" for q, n in fit.histogram.items() if q != "0")
        why = fit.reason or f"nearest {fit.nearest}: {fit.differing[fit.nearest]:,} of {fit.elements:,} differ; {bins}"
        console.say(Text("unmatched", "bold red"), f"{fit.node} ({fit.kind}): {why}")
    alike = f"; on these samples {', '.join(found.alike)} would be the same" if found.alike else ""
    if kinds:
        console.say(f"kernel set    {found.profile.name}{alike}")
    console.say(*[verdict(result.exact)] * result.provable, result.proof)
    console.say(_corrections_line(result))
    console.say(WROTE, f"{output}")


def _telling(fits: Sequence[Any]) -> str:
    return f"{sum(f.telling for f in fits):,}"


def _corrections_line(result: Calibration) -> str:
    corrections = result.corrections
    found = [f"{layer.node}: {text}" for layer in corrections.layers for text in layer.ranges]
    ranges = f"; {'; '.join(found)}" if found else ""
    if not corrections.kept:
        return f"corrections   none: {corrections.reason}{ranges}"
    kept = ", ".join(f"{layer.node} ({' then '.join(layer.kept)})" for layer in corrections.kept)
    return f"corrections   {kept}; the outputs gain {corrections.outputs}{ranges}"


def export(console: Terminal, output: Path, patched: Patched, identical: bool) -> None:
    if identical:
        moved = sum(c.moved for c in patched.changes)
        why = f"; training moved {counted(moved, 'weight')}, none by half a step of its scale" if moved else ""
        console.say(WROTE, f"{output}: identical to the old file, byte for byte{why}")
        return
    rows = table("layer", "constant", ">changed", ">clipped")
    for c in patched.changed:
        rows.add_row(c.layer, f"#{c.tensor} {_short(c.name)}", f"{c.changed:,} of {c.elements:,}", f"{c.clipped:,}")
    console.draw(rows)
    console.say(WROTE, f"{output}: {counted(len(patched.changed), 'constant')} changed, every other byte as it was")


def _short(name: str) -> str:
    """A converter's name is a list of paths: the end of its first."""
    path = name.partition(";")[0]
    return path if len(path) <= 32 else f"...{path[-29:]}"


def proof(console: Terminal, result: Proof) -> None:
    rows = table("", f">{result.old.name}", f">{result.new.name}")
    for column in rows.columns[1:]:
        column.no_wrap = False  # the two names are long, not the numbers
    for key, old in result.old.percentiles.items():
        rows.add_row(f"latency {key[:-3]}", f"{old:.3f} ms", f"{result.new.percentiles[key]:.3f} ms")
    rows.add_row("size", f"{result.old.size:,} bytes", f"{result.new.size:,} bytes")
    console.draw(rows)
    for k, output in enumerate(result.comparison.outputs):
        m = output.metrics
        if m is not None:
            lsb = f", at most {m.lsb_max:g} LSB apart" if m.lsb_max is not None else ""
            apart = f"SQNR {m.sqnr_db:.1f} dB, cosine {m.cosine:.6f}{lsb}"
            console.say(f"output {k}: {'the same in every element' if m.max_abs == 0 else apart}")
    if result.passed:  # else an error says why
        console.say(verdict(True), "both run on the board, with certificates; the interface is the same")


def checks(console: Terminal, found: Sequence[Check]) -> None:
    rows = table("", "check", "found")
    for check in found:
        rows.add_row(verdict(check.ok), check.name, check.detail)
    console.draw(rows)


def deployed(console: Terminal, result: Deployed) -> None:
    facts, plan = result.deployment.facts, result.deployment.plan
    rows = table("found", "")
    for name, value in _found(result):
        rows.add_row(name, value)
    if result.dry_run:
        console.draw(rows)
    steps = table("step", "does")
    for step in plan.steps:
        steps.add_row(step.name, step.does)
    if plan.steps:
        console.draw(steps)
    if result.dry_run:
        console.say(f"a dry run: nothing was changed on {result.target}")
        return
    verb = "installed" if result.changed else "nothing to do:"
    console.say(
        Text(verb, "green"),
        f"agent {plan.bundle.id}, {plan.bundle.runtime} on {facts.machine}, Python "
        f"{'.'.join(map(str, facts.python))}; {plan.service} service, {result.seconds:.1f} s",
    )


def _found(result: Deployed) -> list[tuple[str, str]]:
    f, plan = result.deployment.facts, result.deployment.plan
    dotted = ".".join
    manager = f"systemd {f.systemd}" if f.systemd else "no systemd"
    return [
        ("board", f"{f.os}, kernel {f.kernel}, {f.machine} ({f.bits} bit), glibc {dotted(map(str, f.glibc))}"),
        ("python", f"{dotted(map(str, f.python))} at {f.python_path}"),
        ("room", f"{f.disk_bytes >> 20} MiB of disk, {f.ram_bytes >> 20} MiB of RAM"),
        ("user", f"{f.user}, home {f.home}"),
        ("services", f"{manager}, lingering {'on' if f.linger else 'off'}, sudo {'yes' if f.sudo else 'no'}"),
        ("installed", f"{', '.join(f.versions) or 'nothing'}; current: {f.current or 'none'}"),
        ("bundle", f"{plan.bundle.id}, {plan.bundle.size:,} bytes: {', '.join(plan.bundle.pins)}"),
    ]


def outcomes(console: Terminal, found: Sequence[Outcome]) -> None:
    """A line for each board of a group."""
    rows = table("", "board", "came to")
    for outcome in found:
        where = outcome.document.get("recording") or outcome.document.get("report") or "good"
        rows.add_row(verdict(outcome.error is None), outcome.board, str(outcome.error or where))
    console.draw(rows)


def agreement(console: Terminal, found: Agreement) -> None:
    """The matrix of bit-equality, and for each pair where it parts."""
    pairs = {frozenset((pair.a, pair.b)): pair for pair in found.pairs}
    rows = table("tensors with equal bits", *(f">{name}" for name in found.boards))
    for a in found.boards:
        cells = (pairs.get(frozenset((a, b))) if a != b else None for b in found.boards)
        rows.add_row(a, *("" if pair is None else f"{pair.equal} of {pair.tensors}" for pair in cells))
    console.draw(rows)
    for pair in found.pairs:
        parting = f"first differ in {pair.first}: {pair.differing:,} of {pair.elements:,} elements"
        same = "the same bits everywhere"
        console.say(verdict(pair.first is None), f"{pair.a} and {pair.b}: {same if pair.first is None else parting}")


def agent_status(console: Terminal, document: dict[str, Any]) -> None:
    rows = table("agent", "")
    rows.add_row("version", f"{document['current']}; to roll back to: {document['previous'] or 'none'}")
    rows.add_row("service", f"{document['service'] or 'none'}, {document['state'] or 'not running'}")
    rows.add_row("answers", _told(document["answers"], document["problem"] or "through the forward"))
    if direct := document.get("direct"):
        found = direct["problem"] or "with mutual TLS"
        rows.add_row("directly", _told(direct["answers"], f"port {direct['port']}: {found}"))
    console.draw(rows)


def versions(console: Terminal, facts: Facts) -> None:
    rows = table("version", "")
    for name in facts.versions:
        rows.add_row(name, {facts.current: "current", facts.previous: "to roll back to"}.get(name, ""))
    if facts.versions:
        console.draw(rows)
    else:
        console.say("no agent is installed")


def trip(console: Terminal, result: Trip) -> None:
    certificate = result.recording.manifest.certificate
    if result.recorded_before:
        console.say(f"recorded already, nothing was run: {result.recording.path}")
    if certificate is not None:
        console.say(certificate_line(certificate.to_json()))
    if (calibrated := result.calibration) is not None:
        mark = [verdict(calibrated.exact)] * calibrated.provable
        console.say(*mark, f"{calibrated.profile.name}: {calibrated.proof}")
    comparison(console, result.primary, "the report, comparison-*.json")
    changed = f"{counted(len(result.patched.changed), 'constant')} changed"
    same = "identical to the old file, byte for byte" if result.identical else changed
    console.say(WROTE, f"{result.folder / result.proof.new.name}: {same}")
    proof(console, result.proof)
    console.say(WROTE, f"{result.report}")
