/** What the shop sells when it opens for the first time. Prices in cents. */
export const CATALOGUE = [
  { id: "1", name: "Wool coat", about: "Warm, grey, and down to the knee.", priceCents: 18_900 },
  { id: "2", name: "Rain jacket", about: "Keeps a whole day of rain outside.", priceCents: 8_950 },
  { id: "3", name: "Felt hat", about: "Wide enough for sun and drizzle.", priceCents: 5_400 },
  { id: "4", name: "Silk scarf", about: "Light as a good excuse.", priceCents: 3_990 },
  { id: "5", name: "Leather gloves", about: "Lined, and thin enough for coins.", priceCents: 4_250 },
  { id: "6", name: "Umbrella", about: "Opens in one go, closes in another.", priceCents: 2_900 },
  { id: "7", name: "Canvas bag", about: "Takes what the coat pockets cannot.", priceCents: 2_200 },
  { id: "8", name: "Winter boots", about: "For the way home through the snow.", priceCents: 12_500 },
] as const;
