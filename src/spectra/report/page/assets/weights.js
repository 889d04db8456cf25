// The histogram of a layer's weights: counts on a linear or a logarithmic axis, or |w| on logarithmic bins.

function weightsFigure(layer) {
  const modes = layer.histogram ? ["linear", "log", ...(layer.logHistogram ? ["log |w|"] : [])] : [];
  const std = valueOf(layer, "std");
  const outside = layer.histogram?.outside ? `, ${format(layer.histogram.outside)} outside` : "";
  return figure("Weights", modes, "log", (box, mode) => drawWeights(box, layer, mode), std === null ? "" : `std ${brief(std)}${outside}`);
}

function drawWeights(box, layer, mode) {
  const isMagnitude = mode === "log |w|";
  const histogram = isMagnitude ? layer.logHistogram : layer.histogram;
  if (!histogram) return say(box, layer.empty.histogram);
  const log = mode !== "linear";
  const { edges, counts, normal } = histogram;
  const bars = counts.map((n) => (log && n === 0 ? null : n));
  const curves = [{ x: edges, y: edges }, ...(normal ? [normal] : [])];
  const [x, , ...drawn] = together(curves);
  const series = [{ label: isMagnitude ? "|w|" : "w", value: told }, bar("weights")];
  if (normal) series.push(line("normal, same mean and std", "fit"));
  const top = Math.max(...counts, ...(normal?.y ?? []), 1);
  const logX = isMagnitude && edges[0] > 0;
  chart(box, `Histogram of the weights of ${layer.name}`, {
    scales: { x: scaleOf(logX, [edges[0], edges[edges.length - 1]]), y: scaleOf(log, log ? [0.5, top * 2] : [0, top * 1.08]) },
    axes: [axisOf(isMagnitude ? "|weight|" : "weight w", logX, 2), axisOf("weights in a bin", log, 3)],
    series,
  }, [x, spread(edges, bars, x), ...drawn]);
}
