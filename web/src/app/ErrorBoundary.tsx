import { Component, type ErrorInfo, type ReactNode } from "react";
import { Button } from "../ui/Button";
import { copyText } from "../ui/CopyButton";

interface State {
  error: Error | undefined;
  stack: string;
}

/** When the page itself fails: says so, and offers the way on. Sessions are not touched by it. */
export class ErrorBoundary extends Component<{ children: ReactNode; inside?: boolean }, State> {
  override state: State = { error: undefined, stack: "" };

  static getDerivedStateFromError(error: Error): Partial<State> {
    return { error };
  }

  override componentDidCatch(_: Error, info: ErrorInfo): void {
    this.setState({ stack: info.componentStack ?? "" });
  }

  override render(): ReactNode {
    const { error, stack } = this.state;
    if (!error) return this.props.children;
    const details = `${error.stack ?? error.message}\n${stack}\nat ${new Date().toISOString()}\n${location.pathname}`;
    return (
      <div className="notice-page" role="alert">
        <h1>This page stopped working</h1>
        <p>Your sessions go on and nothing that you wrote is lost. Reload the page to go on.</p>
        <pre>{error.message}</pre>
        <div className="notice-actions">
          <Button look="primary" onClick={() => location.reload()}>
            Reload
          </Button>
          <Button onClick={() => void copyText(details)}>Copy details</Button>
        </div>
      </div>
    );
  }
}
