const settings = undefined;

export default () => settings.rate;
