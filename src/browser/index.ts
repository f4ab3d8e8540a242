export { localState } from "./local-state.ts"; export {onTrouble} from "./trouble.ts"
