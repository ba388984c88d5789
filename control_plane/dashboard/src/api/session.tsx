/** Who looks at this, and what their role allows. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, type ReactNode } from "react";
import { get, Refused, send } from "./client";
import type { Who } from "./types";

export type Role = Who["role"];
const RANKS: Role[] = ["viewer", "member", "operator", "admin"];

export const mayDo = (role: Role, least: Role): boolean => RANKS.indexOf(role) >= RANKS.indexOf(least);

/** Why somebody of this role may not, or null where they may. */
export const whyNot = (role: Role, least: Role): string | null =>
  mayDo(role, least) ? null : `Needs the role ${least}; yours is ${role}. An admin can make a token with it.`;

const WhoContext = createContext<Who | null>(null);

/** The session of this page; only below `Guarded`. */
export function useWho(): Who {
  const who = useContext(WhoContext);
  if (who === null) throw new Error("useWho outside of a session");
  return who;
}

/** Why the session may not do what needs `least`, or null. */
export const useWhyNot = (least: Role): string | null => whyNot(useWho().role, least);

export const openSession = (wanted: { token?: string; code?: string }): Promise<Who> =>
  send<Who>("POST", "/sessions", wanted);

export function useLeave(): () => Promise<void> {
  const queries = useQueryClient();
  return async () => {
    await send("DELETE", "/sessions/current");
    queries.clear();
    window.location.assign("/ui/");
  };
}

/** A code in the address opens the session once, and leaves the address and the history at once. */
async function whoIsThere(): Promise<Who | null> {
  const here = new URL(window.location.href);
  const code = here.searchParams.get("code");
  if (code) {
    here.searchParams.delete("code");
    window.history.replaceState(null, "", here);
    return openSession({ code });
  }
  try {
    return await get<Who>("/sessions/current");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return null;
    throw error;
  }
}

/** Show `children` to whom the control plane knows, `login` to others, `failed` where it cannot be asked. */
export function Guarded(props: {
  children: ReactNode;
  login: (refusal: string | null) => ReactNode;
  failed: (error: Error) => ReactNode;
}) {
  const who = useQuery({ queryKey: ["who"], queryFn: whoIsThere, retry: false, staleTime: Infinity });
  if (who.isPending) return null;
  if (who.error instanceof Refused && who.error.status >= 400) return props.login(who.error.message);
  if (who.error) return props.failed(who.error);
  if (who.data === null) return props.login(null);
  return <WhoContext value={who.data}>{props.children}</WhoContext>;
}
