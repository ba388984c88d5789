/** The pages, their addresses and their keys: a page is added here and nowhere else. */
import { Alert, Center } from "@mantine/core";
import { lazy, Suspense, type ComponentType } from "react";
import { Route, Switch } from "wouter";
import { Live } from "./api/live";
import { Guarded } from "./api/session";
import { Nothing } from "./components/panels";
import { Shell, type Place } from "./components/shell";
import { Login } from "./pages/login";
import { Overview } from "./pages/overview";

const page = (load: () => Promise<Record<string, unknown>>, name: string) =>
  lazy(async () => ({ default: (await load())[name] as ComponentType }));

const PLACES: Place[] = [
  { name: "Overview", path: "/", key: "o", shows: Overview },
  { name: "Fleet", path: "/fleet", key: "f", shows: page(() => import("./pages/fleet"), "FleetPage") },
  { name: "Jobs", path: "/jobs", key: "j", shows: page(() => import("./pages/jobs"), "JobsPage") },
  { name: "Services", path: "/services", key: "s", shows: page(() => import("./pages/services"), "ServicesPage") },
  { name: "Health", path: "/health", key: "h", shows: page(() => import("./pages/health"), "HealthPage") },
  { name: "Market", path: "/market", key: "m", shows: page(() => import("./pages/market"), "MarketPage") },
  { name: "Costs", path: "/costs", key: "c", shows: page(() => import("./pages/costs"), "CostsPage") },
  { name: "Admin", path: "/admin", key: "a", shows: page(() => import("./pages/admin"), "AdminPage") },
];

const DETAILS: { path: string; shows: ComponentType }[] = [
  { path: "/jobs/:id", shows: page(() => import("./pages/job"), "JobPage") },
  { path: "/services/:name", shows: page(() => import("./pages/service"), "ServicePage") },
  { path: "/device", shows: page(() => import("./pages/device"), "DevicePage") },
  { path: "/health/:id", shows: page(() => import("./pages/incident"), "IncidentPage") },
];

export function App() {
  return (
    <Guarded
      login={(refusal) => <Login refusal={refusal} />}
      failed={(error) => (
        <Center mih="60vh" p="md">
          <Alert color="red" title="The control plane does not answer" role="alert">
            {error.message} Load this page again once it runs.
          </Alert>
        </Center>
      )}
    >
      <Live>
        <Shell places={PLACES}>
          <Suspense fallback={null}>
            <Switch>
              {[...PLACES, ...DETAILS].map((each) => (
                <Route key={each.path} path={each.path} component={each.shows} />
              ))}
              <Route>
                <Nothing>There is no such page. The menu lists those that there are.</Nothing>
              </Route>
            </Switch>
          </Suspense>
        </Shell>
      </Live>
    </Guarded>
  );
}
