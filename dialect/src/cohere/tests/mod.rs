mod answer;
mod request;
mod stream;
