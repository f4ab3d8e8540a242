import type { SessionInfo } from "coatcheck";
import { html } from "../html.ts";
import { deviceName, distance } from "./format.ts";
import type { Page } from "./show.ts";

export const devicesPage = (sessions: readonly SessionInfo[], now: number): Page => ({
  title: "Devices",
  content: (csrf, t) => html`<h1>${t("Where you are logged in")}</h1>
<ul class="devices">
  ${sessions.map(
    ({ id, device, createdAt, lastSeenAt, current }) => html`<li class="card wide${current && " current"}">
    <div>
      <h2>${deviceName(device.userAgent)} ${current && html`<span class="badge">${t("This device")}</span>`}</h2>
      <p class="quiet">${t("Since {began}, last seen {seen}", { began: distance(createdAt, now, t), seen: distance(lastSeenAt, now, t) })}${device.ip !== undefined && t(", from the network {ip}", { ip: device.ip })}</p>
    </div>
    ${!current && html`<form method="post" action="/sessions/${id}/revoke">${csrf}<button class="plain">${t("Log out there")}</button></form>`}
  </li>`,
  )}
</ul>
${
  sessions.length > 1 &&
  html`<form method="post" action="/sessions/revoke-others" class="actions">${csrf}<button class="plain">${t("Log out everywhere else")}</button></form>`
}
<p class="quiet">${t("To end sessions you must have typed your password within the last five minutes.")}</p>`,
});
