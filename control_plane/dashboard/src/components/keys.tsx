/** Keys that work on every page, except while somebody types. */
import { useEffect, useRef } from "react";

/** A second key counts this long after `g`. */
const SECOND_KEY_MS = 1500;

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** `g` and then a key of `places` goes there, `/` goes to the page's search, `?` shows the list. */
export function useKeys(places: Record<string, () => void>, help: () => void): void {
  const current = useRef({ places, help });
  current.current = { places, help };
  useEffect(() => {
    let goAt = 0;
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      const place = Date.now() - goAt < SECOND_KEY_MS ? current.current.places[event.key] : undefined;
      goAt = 0;
      if (place) place();
      else if (event.key === "g") goAt = Date.now();
      else if (event.key === "?") current.current.help();
      else if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("input[type=search]");
        if (!search) return;
        event.preventDefault();
        search.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
