/** What pages ask for, each under the key by which live changes find it. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { get, list } from "./client";
import type {
  Audited,
  Breaker,
  Costs,
  Explanation,
  Fleet,
  GodwitEvent,
  Incident,
  IncidentDetail,
  Job,
  JobDetail,
  KnownDevice,
  Ledger,
  Node,
  Offer,
  Overview,
  Points,
  PriceSeries,
  Project,
  Provider,
  Queue,
  Service,
  ServiceDetail,
  Token,
  TrafficHistory,
  User,
} from "./types";

/** Where figures change without any event (utilisation, prices, traffic), a page looks again after this long. */
const UNTOLD_MS = 15_000;
const TRAFFIC_MS = 3_000;

export const useOverview = () =>
  useQuery({ queryKey: ["overview"], queryFn: () => get<Overview>("/overview"), refetchInterval: UNTOLD_MS });

export const useFleet = () =>
  useQuery({ queryKey: ["fleet"], queryFn: () => get<Fleet>("/fleet"), refetchInterval: UNTOLD_MS, structuralSharing: false });

/** The newest jobs: a fleet has had more than anybody reads, and the list is asked again whenever one changes. */
export const JOBS_MAX = 1000;

export const useJobs = () => useQuery({ queryKey: ["jobs"], queryFn: () => list<Job>("/jobs", {}, JOBS_MAX) });

export const useQueue = () =>
  useQuery({ queryKey: ["jobs", "queue"], queryFn: () => get<Queue>("/queue"), refetchInterval: UNTOLD_MS });

export const useProgress = (id: string) =>
  useQuery({ queryKey: ["progress", id], queryFn: () => get<Points>(`/jobs/${id}/progress`), refetchInterval: TRAFFIC_MS });

export const useJob = (id: string) =>
  useQuery({ queryKey: ["jobs", id], queryFn: () => get<JobDetail>(`/jobs/${id}`) });

export const useExplanation = (id: string) =>
  useQuery({ queryKey: ["jobs", id, "explain"], queryFn: () => get<Explanation>(`/jobs/${id}/explain`) });

export const useLedger = (id: string) =>
  useQuery({ queryKey: ["jobs", id, "ledger"], queryFn: () => get<Ledger>(`/jobs/${id}/ledger`), refetchInterval: UNTOLD_MS });

export const useNode = (id: string | null) =>
  useQuery({ queryKey: ["nodes", id], queryFn: () => get<Node>(`/nodes/${id}`), enabled: id !== null });

export const useEvents = (about: { node?: string; job?: string }, enabled = true) =>
  useQuery({
    queryKey: ["events", about],
    queryFn: () => list<GodwitEvent>("/events", about, 3000),
    enabled,
    placeholderData: keepPreviousData,
  });

export const useServices = () =>
  useQuery({ queryKey: ["services"], queryFn: () => list<Service>("/services"), refetchInterval: UNTOLD_MS });

export const useService = (name: string) =>
  useQuery({
    queryKey: ["services", name],
    queryFn: () => get<ServiceDetail>(`/services/${name}`),
    refetchInterval: TRAFFIC_MS,
  });

export const useIncidents = (closed: boolean) =>
  useQuery({ queryKey: ["incidents", { closed }], queryFn: () => list<Incident>("/incidents", { all: closed }, 500) });

export const useIncident = (id: string) =>
  useQuery({ queryKey: ["incidents", id], queryFn: () => get<IncidentDetail>(`/incidents/${id}`) });

export const useBreaker = () => useQuery({ queryKey: ["incidents", "breaker"], queryFn: () => get<Breaker>("/breaker") });

export const useOffers = () =>
  useQuery({ queryKey: ["offers"], queryFn: () => list<Offer>("/offers", {}, 3000), refetchInterval: UNTOLD_MS });

export const useProviders = () =>
  useQuery({ queryKey: ["providers"], queryFn: () => list<Provider>("/providers"), refetchInterval: UNTOLD_MS });

export const useProjects = () => useQuery({ queryKey: ["projects"], queryFn: () => list<Project>("/projects") });

export const useCosts = (by: string, since: number, until: number, bucket: number) =>
  useQuery({
    queryKey: ["costs", by, since, until, bucket],
    queryFn: () => get<Costs>("/costs", { by, since, until, bucket }),
    refetchInterval: UNTOLD_MS,
    placeholderData: keepPreviousData,
  });

export const usePrices = (gpus: string, since: number) =>
  useQuery({
    queryKey: ["prices", gpus, since],
    queryFn: () => get<PriceSeries[]>("/prices", { gpus, since }),
    refetchInterval: UNTOLD_MS,
    placeholderData: keepPreviousData,
  });

export const useTokens = () => useQuery({ queryKey: ["tokens"], queryFn: () => list<Token>("/tokens") });

export const useUsers = () => useQuery({ queryKey: ["users"], queryFn: () => list<User>("/users") });

export const useAudit = () =>
  useQuery({ queryKey: ["audit"], queryFn: () => list<Audited>("/audit", {}, 300), refetchInterval: UNTOLD_MS });

export const useTraffic = (name: string) =>
  useQuery({
    queryKey: ["traffic", name],
    queryFn: () => get<TrafficHistory>(`/services/${name}/traffic`),
    refetchInterval: TRAFFIC_MS,
    placeholderData: keepPreviousData,
  });

/** Devices with so many incidents or more: they fail again and again. */
export const useLemons = (faults: number) =>
  useQuery({ queryKey: ["incidents", "devices", faults], queryFn: () => list<KnownDevice>("/devices", { faults }, 200) });
