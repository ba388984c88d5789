/** Instants: how long ago, with the absolute time in the viewer's zone on hover and focus. */
import { Tooltip } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { clock, duration, instant } from "../format";

/** All clocks of a page tick together, once a second, and stand still while nobody looks. */
const tick = (() => {
  const listeners = new Set<() => void>();
  let now = Date.now() / 1000;
  setInterval(() => {
    if (document.hidden) return;
    now = Date.now() / 1000;
    for (const each of listeners) each();
  }, 1000);
  return {
    subscribe: (listener: () => void) => (listeners.add(listener), () => void listeners.delete(listener)),
    now: () => now,
  };
})();

export const useNow = (): number => useSyncExternalStore(tick.subscribe, tick.now);

function Hover({ at, text }: { at: number; text: string }) {
  return (
    <Tooltip label={instant(at)} events={{ hover: true, focus: true, touch: true }}>
      <time dateTime={new Date(at * 1000).toISOString()} className="nowrap">
        {text}
      </time>
    </Tooltip>
  );
}

/** `5 min ago`, or `in 5 min`. */
export function Ago({ at }: { at: number }) {
  const now = useNow();
  return <Hover at={at} text={said(at, now)} />;
}

function said(at: number, now: number): string {
  if (Math.abs(now - at) < 1.5) return "just now";
  return at > now ? `in ${duration(at - now)}` : `${duration(now - at)} ago`;
}

/** How long something has lasted. */
export function For({ since }: { since: number }) {
  return <Hover at={since} text={duration(useNow() - since)} />;
}

/** The time of day. */
export function At({ at }: { at: number }) {
  return <Hover at={at} text={clock(at)} />;
}
