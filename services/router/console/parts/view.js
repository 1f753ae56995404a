// Zoom and pan of a picture in its stage: scale 1 fills the stage; x and y are pixels of the page.
const CLOSEST = 16;

export const FIT = { scale: 1, x: 0, y: 0 };

/** Zoom by a factor so that the point at (x, y) of the stage stays where it is. */
export function zoomed(view, factor, x, y, size) {
  const scale = Math.min(Math.max(view.scale * factor, 1), CLOSEST);
  const grown = scale / view.scale;
  return kept({ scale, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown }, size);
}

export const panned = (view, byX, byY, size) => kept({ ...view, x: view.x + byX, y: view.y + byY }, size);

/** Never show anything beside the picture. */
function kept(view, { width, height }) {
  const within = (value, length) => Math.min(Math.max(value, length * (1 - view.scale)), 0);
  return { scale: view.scale, x: within(view.x, width), y: within(view.y, height) };
}

/** The scale at which a pixel of the picture is a pixel of the screen. */
export const exactScale = (pixels, size) => pixels / size.width / devicePixelRatio;
