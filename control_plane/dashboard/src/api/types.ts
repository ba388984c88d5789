/** The API's messages under the names that pages use; `schema.ts` is made from the API's own description. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Overview = Schemas["OverviewView"];
export type Fleet = Schemas["FleetView"];
export type Job = Schemas["JobView"];
export type JobDetail = Schemas["JobDetail"];
export type Explanation = Schemas["ExplainView"];
export type Attempt = Schemas["AttemptView"];
export type Ledger = Schemas["LedgerView"];
export type Node = Schemas["NodeView"];
export type GodwitEvent = Schemas["EventView"];
export type Refusal = Schemas["RefusalView"];
export type Migration = Schemas["MigrationView"];
export type MigrationPlan = Schemas["MigrationPlan"];
export type Service = Schemas["ServiceView"];
export type ServiceDetail = Schemas["ServiceDetail"];
export type Incident = Schemas["IncidentView"];
export type IncidentDetail = Schemas["IncidentDetail"];
export type Breaker = Schemas["BreakerView"];
export type Offer = Schemas["OfferView"];
export type Provider = Schemas["ProviderView"];
export type Project = Schemas["ProjectView"];
export type Costs = Schemas["CostsView"];
export type Queue = Schemas["QueueView"];
export type Consequences = Schemas["ConsequencesView"];
export type Points = Schemas["PointsView"];
export type PriceSeries = Schemas["PriceSeries"];
export type TrafficHistory = Schemas["TrafficHistory"];
export type KnownDevice = Schemas["KnownDevice"];
export type Token = Schemas["TokenView"];
export type TokenMade = Schemas["TokenMade"];
export type Audited = Schemas["AuditView"];
export type Change = Schemas["ChangeView"];
export type Who = Schemas["WhoView"];
export type LoginOffer = Schemas["LoginView"];
export type DeviceGrant = Schemas["DeviceGrantView"];
export type User = Schemas["UserView"];
export type Scope = Schemas["Scope"];
export type Problem = Schemas["ProblemDetails"];

export interface Page<Item> {
  items: Item[];
  next_cursor?: string | null;
}
