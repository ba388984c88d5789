import "@mantine/core/styles.css";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { createTheme, Drawer, MantineProvider, Modal } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { Router } from "wouter";
import { Refused } from "./api/client";
import { App } from "./app";

const theme = createTheme({
  primaryColor: "cyan",
  primaryShade: { light: 9, dark: 4 },
  autoContrast: true,
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace',
  defaultRadius: "md",
  components: {
    Drawer: Drawer.extend({ defaultProps: { closeButtonProps: { "aria-label": "Close" } } }),
    Modal: Modal.extend({ defaultProps: { closeButtonProps: { "aria-label": "Close" } } }),
  },
});

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000,
      // What was refused is refused again; only a control plane that is away is asked once more.
      retry: (failures, error) => failures < 3 && error instanceof Refused && [0, 502, 503].includes(error.status),
    },
  },
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <MantineProvider theme={theme} defaultColorScheme="auto">
    <QueryClientProvider client={queries}>
      <Router base="/ui">
        <App />
      </Router>
    </QueryClientProvider>
  </MantineProvider>,
);
