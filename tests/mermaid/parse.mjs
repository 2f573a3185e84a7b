// Reads a JSON list of diagrams from stdin; writes, for each, the error or what Mermaid understood.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid"); // looks at the window while it is imported

// Between parsing and drawing, Mermaid keeps an entity such as #60; in a form of its own.
function shown(text) {
  const element = window.document.createElement("textarea");
  element.innerHTML = text.replaceAll("ﬂ°°", "&#").replaceAll("ﬂ°", "&").replaceAll("¶ß", ";");
  return element.value;
}

function understood(db) {
  if (db.getActors) {
    const actors = [...db.getActors().values()].map((actor) => [actor.name, shown(actor.description)]);
    const messages = db.getMessages().map(({ from, to, message }) => [from ?? null, to ?? null, shown(message ?? "")]);
    return { actors, messages };
  }
  if (db.getStates) {
    const states = [...db.getStates().values()].map((state) => [state.id, (state.descriptions ?? []).map(shown)]);
    const ways = db.getRelations().map(({ id1, id2, relationTitle }) => [id1, id2, shown(relationTitle ?? "")]);
    return { states, ways };
  }
  if (db.getVertices) {
    const nodes = [...db.getVertices().values()].map(({ id, text, classes }) => [id, shown(text), classes]);
    return { nodes, edges: db.getEdges().map(({ start, end }) => [start, end]) };
  }
  const classes = [...db.getClasses().values()].map(({ id, label, members, methods }) => ({
    id,
    label: shown(label),
    members: members.map((member) => shown(member.getDisplayDetails().displayText)),
    methods: methods.map((method) => shown(method.getDisplayDetails().displayText)),
  }));
  return { classes, relations: db.getRelations().map(({ id1, id2, title }) => [id1, id2, title]) };
}

async function read(diagram) {
  try {
    await mermaid.parse(diagram);
    return understood((await mermaid.mermaidAPI.getDiagramFromText(diagram)).db);
  } catch (error) {
    return { error: String(error.message ?? error) };
  }
}

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
const answers = [];
for (const diagram of JSON.parse(input)) answers.push(await read(diagram));
process.stdout.write(JSON.stringify(answers));
