/** The map on the page: drag or arrows pan, the wheel or + and - zoom, 0 shows all of it, a click picks a node. */
import { ActionIcon, useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { type KeyboardEvent, type PointerEvent, useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Fleet } from "../api/types";
import type { Painted } from "./colours";
import { type Hit, hitAt, layOut } from "./layout";
import { Painter, SHARPEN_MS, type View } from "./painter";

const ZOOM_MAX_PX = 60;
const CLICK_MAX_PX = 4;

export function FleetMap(props: {
  fleet: Fleet;
  painted: Painted;
  picked: number;
  onPick: (node: number) => void;
  describe: (hit: Hit) => string;
  label: string;
}) {
  const { ref: box, width, height } = useElementSize();
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef(new Painter());
  const view = useRef<View>({ x: 0, y: 0, zoom: 0 });
  const drag = useRef<{ x: number; y: number; moved: number } | null>(null);
  const pending = useRef(0);
  const sharpen = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [tip, setTip] = useState<{ x: number; y: number; text: string } | null>(null);
  const ink = useComputedColorScheme("light") === "dark" ? "#dee2e6" : "#343a40";
  const aspect = width && height ? Math.round((width / height) * 4) / 4 : 0;
  const layout = useMemo(() => (aspect ? layOut(props.fleet, aspect) : null), [props.fleet, aspect]);
  const fitting = layout && width ? Math.min(width / layout.w, height / layout.h, 24) : 0;

  const draw = useCallback(
    (sharp: boolean) => {
      cancelAnimationFrame(pending.current);
      pending.current = requestAnimationFrame(() => {
        const context = canvas.current?.getContext("2d");
        if (!context || !layout) return;
        const ratio = window.devicePixelRatio || 1;
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        painter.current.draw(context, view.current, width, height, ink, sharp);
        if (props.picked >= 0) outline(context, layout, props.picked, view.current);
        performance.mark("fleet drawn"); // what the benchmark and the tests look for
        canvas.current?.setAttribute("data-drawn", props.fleet.version);
      });
    },
    [layout, width, height, ink, props.picked, props.fleet],
  );

  const bound = useCallback(() => {
    if (!layout) return;
    const { zoom } = view.current;
    const keep = (at: number, size: number, seen: number) =>
      size < seen ? (size - seen) / 2 : Math.min(Math.max(at, -seen / 2), size - seen / 2);
    view.current.x = keep(view.current.x, layout.w, width / zoom);
    view.current.y = keep(view.current.y, layout.h, height / zoom);
  }, [layout, width, height]);

  const fit = useCallback(() => {
    view.current = { x: 0, y: 0, zoom: fitting };
    bound();
    draw(true);
  }, [fitting, bound, draw]);

  const zoomBy = useCallback(
    (factor: number, px: number, py: number) => {
      const before = view.current.zoom;
      const zoom = Math.min(ZOOM_MAX_PX, Math.max(fitting, before * factor));
      view.current.x += px / before - px / zoom;
      view.current.y += py / before - py / zoom;
      view.current.zoom = zoom;
      bound();
      draw(false);
      clearTimeout(sharpen.current);
      sharpen.current = setTimeout(() => draw(true), SHARPEN_MS);
    },
    [fitting, bound, draw],
  );

  useEffect(() => {
    if (!layout || !canvas.current || !fitting) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.current.width = Math.round(width * ratio);
    canvas.current.height = Math.round(height * ratio);
    painter.current.show(layout, props.painted);
    if (view.current.zoom < fitting) fit();
    else draw(true);
  }, [layout, props.painted, width, height, fitting, fit, draw]);

  useEffect(() => {
    const element = canvas.current;
    // React listens passively, and then the page would scroll along.
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    };
    element?.addEventListener("wheel", onWheel, { passive: false });
    return () => element?.removeEventListener("wheel", onWheel);
  }, [zoomBy]);

  const under = (event: PointerEvent): Hit | null => {
    const { x, y, zoom } = view.current;
    const at = event.nativeEvent;
    return layout && hitAt(layout, x + at.offsetX / zoom, y + at.offsetY / zoom);
  };
  const onMove = (event: PointerEvent) => {
    if (drag.current) {
      const dx = event.clientX - drag.current.x;
      const dy = event.clientY - drag.current.y;
      drag.current = { x: event.clientX, y: event.clientY, moved: drag.current.moved + Math.abs(dx) + Math.abs(dy) };
      view.current.x -= dx / view.current.zoom;
      view.current.y -= dy / view.current.zoom;
      bound();
      draw(true);
      return;
    }
    const hit = under(event);
    setTip(hit && { x: event.nativeEvent.offsetX, y: event.nativeEvent.offsetY, text: props.describe(hit) });
  };
  const onUp = (event: PointerEvent) => {
    const was = drag.current;
    drag.current = null;
    if (was && was.moved <= CLICK_MAX_PX) props.onPick(under(event)?.node ?? -1);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = 60 / view.current.zoom;
    const moves: Record<string, () => void> = {
      ArrowLeft: () => (view.current.x -= step),
      ArrowRight: () => (view.current.x += step),
      ArrowUp: () => (view.current.y -= step),
      ArrowDown: () => (view.current.y += step),
      "+": () => zoomBy(1.3, width / 2, height / 2),
      "-": () => zoomBy(1 / 1.3, width / 2, height / 2),
      "0": fit,
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    bound();
    draw(true);
  };
  return (
    <div ref={box} className="mapbox">
      <canvas
        ref={canvas}
        className="map"
        style={{ height }}
        tabIndex={0}
        role="img"
        aria-label={props.label}
        onPointerDown={(event) => {
          drag.current = { x: event.clientX, y: event.clientY, moved: 0 };
          event.currentTarget.setPointerCapture(event.pointerId);
          setTip(null);
        }}
        onPointerMove={onMove}
        onPointerUp={onUp}
        onPointerLeave={() => setTip(null)}
        onKeyDown={onKey}
      />
      <div className="mapkeys">
        <ActionIcon variant="default" aria-label="Zoom in" onClick={() => zoomBy(1.5, width / 2, height / 2)}>
          +
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Zoom out" onClick={() => zoomBy(1 / 1.5, width / 2, height / 2)}>
          −
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Show all" onClick={fit}>
          ⤢
        </ActionIcon>
      </div>
      {tip && (
        <div className="maptip" style={{ left: Math.min(tip.x + 14, width - 230), top: tip.y + 14 }}>
          {tip.text}
        </div>
      )}
    </div>
  );
}

function outline(context: CanvasRenderingContext2D, layout: NonNullable<ReturnType<typeof layOut>>, node: number, view: View) {
  context.strokeStyle = "#1971c2";
  context.lineWidth = 2;
  context.strokeRect(
    (layout.x[node]! - 0.2 - view.x) * view.zoom,
    (layout.y[node]! - 0.2 - view.y) * view.zoom,
    (layout.columns[node]! + 0.3) * view.zoom,
    (layout.rows[node]! + 0.3) * view.zoom,
  );
}
