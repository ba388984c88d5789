/** What changed in the fleet, as the control plane tells it: the queries that it touches are asked again. */
import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import { listen } from "./streams";
import type { Change } from "./types";

/** Which queries show something of a resource; `overview` and `fleet` show something of nearly all. */
const SHOWN: Record<string, string[]> = {
  jobs: ["jobs", "overview", "fleet", "events"],
  nodes: ["nodes", "overview", "fleet", "events"],
  incidents: ["incidents", "overview", "fleet", "nodes"],
  services: ["services", "overview"],
  projects: ["projects", "costs"],
  providers: ["providers", "overview", "offers"],
  migrations: ["jobs", "overview"],
  other: ["overview", "tokens", "users", "audit"],
};

/** At most this often the same queries are asked again: a burst of events is one look. */
const PAUSE_MS = 1000;

const LiveContext = createContext(false);

/** Whether changes arrive at this moment. */
export const useIsLive = (): boolean => useContext(LiveContext);

export function Live({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [stands, setStands] = useState(false);
  useEffect(() => {
    const gathered = gather(queries);
    const stop = listen({
      path: "/changes/stream",
      onTold: (told) => gathered.add((JSON.parse(told.data) as Change).changed),
      onLine: (line) => {
        setStands(line);
        if (line) gathered.add({ other: [], jobs: [], nodes: [], incidents: [], services: [] });
      },
    });
    return () => {
      stop();
      gathered.stop();
    };
  }, [queries]);
  return <LiveContext value={stands}>{children}</LiveContext>;
}

function gather(queries: QueryClient) {
  const keys = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let lookedAt = 0;
  const look = () => {
    timer = undefined;
    lookedAt = Date.now();
    for (const key of keys) void queries.invalidateQueries({ queryKey: [key] });
    keys.clear();
  };
  return {
    add(changed: Partial<Record<string, string[]>>) {
      for (const resource of Object.keys(changed)) for (const key of SHOWN[resource] ?? []) keys.add(key);
      timer ??= setTimeout(look, Math.max(0, lookedAt + PAUSE_MS - Date.now()));
    },
    stop: () => clearTimeout(timer),
  };
}
