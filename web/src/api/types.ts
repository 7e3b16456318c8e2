import type { components } from "./schema";

type Schemas = components["schemas"];

export type Activity = Schemas["Activity"];
export type AgentEvent = Schemas["AgentEvent"];
export type Answer = Schemas["Answer"];
export type Approval = Schemas["Approval"];
export type ApprovalSubject = Schemas["ApprovalSubject"];
export type CreatedToken = Schemas["CreatedToken"];
export type Decision = Schemas["Decision"];
export type Delivery = Schemas["Delivery"];
export type EventBody = Schemas["EventBody"];
export type FileChange = Schemas["FileChange"];
export type Item = Schemas["Item"];
export type ItemBody = Schemas["ItemBody"];
export type ItemStatus = Schemas["ItemStatus"];
export type LiveMessage = Schemas["LiveMessage"];
export type Me = Schemas["Me"];
export type MessagePatch = Schemas["MessagePatch"];
export type ModelOption = Schemas["ModelOption"];
export type NewMessage = Schemas["NewMessage"];
export type NewSession = Schemas["NewSession"];
export type WarmSession = Schemas["WarmSession"];
export type NewTerminal = Schemas["NewTerminal"];
export type NewTui = Schemas["NewTui"];
export type NoticeLevel = Schemas["NoticeLevel"];
export type PlanStep = Schemas["PlanStep"];
export type Port = Schemas["Port"];
export type Problem = Schemas["Problem"];
export type QueuedMessage = Schemas["QueuedMessage"];
export type Repository = Schemas["Repository"];
export type RepositoryCheck = Schemas["RepositoryCheck"];
export type Session = Schemas["Session"];
export type ConversationSummary = Schemas["ConversationSummary"];
export type ConversationPatch = Schemas["ConversationPatch"];
export type Destination = Schemas["Destination"];
export type SessionFacets = Schemas["SessionFacets"];
export type SessionEvent = Schemas["SessionEvent"];
export type SessionPatch = Schemas["SessionPatch"];
export type SessionState = Schemas["SessionState"];
export type SetupStep = Schemas["SetupStep"];
export type StreamMessage = Schemas["StreamMessage"];
export type TerminalInfo = Schemas["TerminalInfo"];
export type TerminalInput = Schemas["TerminalInput"];
export type Ticket = Schemas["Ticket"];
export type TicketPurpose = Schemas["TicketPurpose"];
export type Token = Schemas["Token"];
export type Trouble = Schemas["Trouble"];
export type WatchMode = Schemas["WatchMode"];
export type Workspace = Schemas["Workspace"];
export type TurnOutcome = Schemas["TurnOutcome"];
export type Usage = Schemas["Usage"];

/** A profile as the server sends it: whole, because what may be left out of the configuration has a default. */
export type ProfileSummary = Omit<Schemas["ProfileSummary"], "profile"> & {
  profile: Required<Omit<Schemas["Profile"], "workspaces">> & Pick<Schemas["Profile"], "workspaces">;
};

/** An item's body of one kind. */
export type Body<K extends ItemBody["kind"]> = Extract<ItemBody, { kind: K }>;

/** A page of a list. */
export interface Page<T> {
  data: T[];
  next_cursor?: string | null;
}
